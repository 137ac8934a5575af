// Names of the daemon's optional settings, in one place.
export const settings = {
    headerTime: 'SANDBOX_HEADER_TIMEOUT',
    bodyTime: 'SANDBOX_BODY_TIMEOUT',
    idleTime: 'SANDBOX_IDLE_TIMEOUT',
    headerLimit: 'SANDBOX_MAX_HEADER_BYTES',
    bodyLimit: 'SANDBOX_MAX_BODY_BYTES',
    connections: 'SANDBOX_MAX_CONNECTIONS',
    killGrace: 'SANDBOX_KILL_GRACE',
    shutdownTime: 'SANDBOX_SHUTDOWN_TIMEOUT',
};
