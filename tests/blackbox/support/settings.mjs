// Names of the daemon's optional settings, in one place.
export const settings = {
    headerTime: 'SANDBOX_HEADER_TIME',
    idleTime: 'SANDBOX_IDLE_TIME',
    headerLimit: 'SANDBOX_HEADER_LIMIT',
    bodyLimit: 'SANDBOX_BODY_LIMIT',
    connections: 'SANDBOX_MAX_CONNECTIONS',
    killGrace: 'SANDBOX_KILL_GRACE',
    shutdownTime: 'SANDBOX_SHUTDOWN_TIME',
};
