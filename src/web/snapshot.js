// The JSON text of a request, and the comparison of a request with a job.

const MOST_BYTES = 10485760;
const MOST_LEVELS = 100;

/**
 * The JSON text of `value`, with sorted keys. Reads each property once.
 * Throws `{ field, message, cause? }` if JSON would drop or change something, or if reading fails. `field` is the path of the
 * invalid value, or `root` for `value` itself. `outer(key, refuse)` is called for each key of `value`: if it returns true, the key
 * is left out; `refuse(advice)` throws.
 */
export function snapshot(value, root, outer) {
  const around = []; // the objects that are being written, from the outermost
  let field = root;
  let size = 0;
  let refusal;

  const refuse = (advice) => {
    throw (refusal = { field, message: `${field} ${advice}` });
  };
  const tooLarge = () => {
    field = root;
    refuse("is larger than 10 MB; pass files by URL");
  };
  const add = (text) => {
    if ((size += text.length) > MOST_BYTES) tooLarge();
    return text;
  };

  const write = (it, path, optional) => {
    field = path;
    if (it === null || typeof it === "string" || typeof it === "boolean" || Number.isFinite(it)) return add(JSON.stringify(it));
    if (it === undefined) return optional ? it : refuse("is undefined; leave it out or give it a value");
    const list = Array.isArray(it);
    if (!isPlain(it, list)) {
      const type = typeof it === "number" ? it : it.constructor?.name;
      const advice = /^(File|Blob)$/.test(type) ? "; upload it and pass its public https URL" : ", which JSON cannot carry; pass plain data";
      refuse(`is of type ${type}${advice}`);
    }
    if (around.length === MOST_LEVELS || around.includes(it)) refuse("contains itself or nests more than 100 levels deep; pass plain data");
    if (Object.getOwnPropertySymbols(it).some((key) => isEnumerable.call(it, key))) refuse("has a symbol as a key, which JSON would drop");
    const { length } = list ? it : "";
    if (length > MOST_BYTES / 2) tooLarge();
    const keys = Object.keys(it);
    if (!keys.includes("toJSON") && typeof it.toJSON === "function") refuse("has a function toJSON, which would change it; pass plain data");
    around.push(it);
    const parts = [];
    if (list) {
      for (let index = 0; index < length; index++) {
        const at = (field = `${path}[${index}]`);
        if (keys[index] !== `${index}`) refuse("is missing; JSON would put null there");
        parts.push(write(it[index], at));
      }
      field = path;
      if (keys.length > length) refuse(`is an array with a property ${cut(keys[length])}, which JSON would drop`);
    } else {
      for (const key of keys.sort()) {
        const at = (field = around[1] || root !== "request" ? `${path}.${cut(key)}` : cut(key));
        if (!around[1] && outer?.(key, refuse)) continue;
        const text = write(it[key], at, !around[1] || key === "voice_id");
        if (text !== undefined) parts.push(`${add(JSON.stringify(key))}:${text}`);
      }
    }
    around.pop();
    add(" ".repeat(parts.length)); // colons and commas
    return list ? `[${parts}]` : `{${parts}}`;
  };

  try {
    const text = write(value, root);
    if (text.length > MOST_BYTES / 3 && new TextEncoder().encode(text).length > MOST_BYTES) tooLarge();
    return text;
  } catch (cause) {
    throw refusal ?? { field, message: `${field} cannot be read`, cause };
  }
}

const isEnumerable = {}.propertyIsEnumerable;
const cut = (key) => (key.length > 60 ? `${key.slice(0, 60)}…` : key);

// Whether a value is a plain object or array of any realm, or has no prototype.
function isPlain(it, list) {
  if (typeof it !== "object") return false;
  const prototype = Object.getPrototypeOf(it);
  if (prototype === null) return true;
  if (list) return Array.isArray(prototype) && Object.getPrototypeOf(Object.getPrototypeOf(prototype)) === null;
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "isPrototypeOf");
}

/** Whether a job has all members of a request; both are parsed JSON. Other members of the job are ignored. */
export const covers = (request, job) =>
  request === job ||
  (isObject(request) &&
    isObject(job) &&
    Array.isArray(request) === Array.isArray(job) &&
    (!Array.isArray(request) || request.length === job.length) &&
    Object.keys(request).every((key) => covers(request[key], Object.hasOwn(job, key) ? job[key] : null)));

const isObject = (it) => typeof it === "object" && it !== null;
