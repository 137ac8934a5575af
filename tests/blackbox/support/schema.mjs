// A validator for the part of JSON Schema that the API description uses. A keyword it does not know is an error, so
// that nothing passes unchecked.
const annotations = new Set(['title', 'description', 'examples', 'example', 'default', 'deprecated', 'format', '$comment']);
const formats = {
    uuid: /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/,
    'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/,
};

function typeOf(value) {
    if (value === null) return 'null';
    if (Array.isArray(value)) return 'array';
    if (Number.isInteger(value)) return 'integer';
    return typeof value;
}

const hasType = (value, type) => typeOf(value) === type || (type === 'number' && typeOf(value) === 'integer');

function resolve(root, ref) {
    if (!ref.startsWith('#/')) throw new Error(`unsupported reference ${ref}`);
    return ref
        .slice(2)
        .split('/')
        .reduce((node, key) => {
            const found = node?.[key.replaceAll('~1', '/').replaceAll('~0', '~')];
            if (found === undefined) throw new Error(`dangling reference ${ref}`);
            return found;
        }, root);
}

const keywords = {
    $ref: (v, ref, c) => c.errors(resolve(c.root, ref), v, c.at),
    type: (v, t, c) => (([t].flat().some((one) => hasType(v, one)) ? [] : [`${c.at}: ${typeOf(v)} instead of ${t}`])),
    enum: (v, list, c) => (list.includes(v) ? [] : [`${c.at}: ${JSON.stringify(v)} is none of ${list}`]),
    const: (v, only, c) => (v === only ? [] : [`${c.at}: ${JSON.stringify(v)} is not ${only}`]),
    allOf: (v, all, c) => all.flatMap((s) => c.errors(s, v, c.at)),
    anyOf: (v, any, c) => (any.some((s) => c.errors(s, v, c.at).length === 0) ? [] : [`${c.at}: fits none of anyOf`]),
    oneOf: (v, one, c) => {
        const fits = one.filter((s) => c.errors(s, v, c.at).length === 0).length;
        return fits === 1 ? [] : [`${c.at}: fits ${fits} of oneOf`];
    },
    not: (v, s, c) => (c.errors(s, v, c.at).length > 0 ? [] : [`${c.at}: fits what it must not`]),
    properties: (v, properties, c) =>
        typeOf(v) !== 'object'
            ? []
            : Object.entries(properties).flatMap(([k, s]) => (k in v ? c.errors(s, v[k], `${c.at}.${k}`) : [])),
    required: (v, names, c) =>
        typeOf(v) !== 'object' ? [] : names.filter((n) => !(n in v)).map((n) => `${c.at}: no ${n}`),
    additionalProperties: (v, rule, c) => {
        if (typeOf(v) !== 'object' || rule === true) return [];
        const extra = Object.keys(v).filter((k) => !(k in (c.schema.properties ?? {})));
        if (rule === false) return extra.map((k) => `${c.at}: unexpected ${k}`);
        return extra.flatMap((k) => c.errors(rule, v[k], `${c.at}.${k}`));
    },
    items: (v, s, c) => (typeOf(v) === 'array' ? v.flatMap((one, i) => c.errors(s, one, `${c.at}[${i}]`)) : []),
    minItems: (v, n, c) => (typeOf(v) === 'array' && v.length < n ? [`${c.at}: fewer than ${n}`] : []),
    minimum: (v, n, c) => (typeof v === 'number' && v < n ? [`${c.at}: ${v} < ${n}`] : []),
    maximum: (v, n, c) => (typeof v === 'number' && v > n ? [`${c.at}: ${v} > ${n}`] : []),
    exclusiveMinimum: (v, n, c) => (typeof v === 'number' && v <= n ? [`${c.at}: ${v} <= ${n}`] : []),
    minLength: (v, n, c) => (typeof v === 'string' && v.length < n ? [`${c.at}: shorter than ${n}`] : []),
    maxLength: (v, n, c) => (typeof v === 'string' && v.length > n ? [`${c.at}: longer than ${n}`] : []),
    pattern: (v, p, c) => (typeof v === 'string' && !new RegExp(p, 'u').test(v) ? [`${c.at}: does not match ${p}`] : []),
};

export function validate(root, schema, value) {
    const errors = (s, v, at) => {
        if (s === true) return [];
        if (s === false) return [`${at}: nothing is allowed here`];
        const found = [];
        for (const [keyword, argument] of Object.entries(s)) {
            if (keyword in keywords) found.push(...keywords[keyword](v, argument, { root, schema: s, at, errors }));
            else if (!annotations.has(keyword)) throw new Error(`${at}: unknown schema keyword ${keyword}`);
        }
        if (s.format in formats && typeof v === 'string' && !formats[s.format].test(v)) {
            found.push(`${at}: ${JSON.stringify(v)} is no ${s.format}`);
        }
        return found;
    };
    return errors(schema, value, '$');
}
