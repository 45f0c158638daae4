// What the core asks of JavaScript's values. A value that misbehaves when it is read is taken for one that is not there.

export function kind(value) {
  if (value === undefined) return 0;
  if (value === null) return 1;
  if (typeof value === "boolean") return 2;
  if (typeof value === "number") return Number.isFinite(value) ? 3 : 7;
  if (typeof value === "string") return 4;
  if (Array.isArray(value)) return 5;
  if (typeof value !== "object") return 7;
  // Plain in whichever realm: its prototype is nobody's, or is one that has none itself.
  const prototype = Object.getPrototypeOf(value);
  return prototype && Object.getPrototypeOf(prototype) ? 7 : 6;
}

export function get(object, key) {
  try {
    return object?.[key];
  } catch {}
}

export function set(object = {}, key, value) {
  if (value !== undefined) object[key] = value;
  return object;
}

export function push(list, value) {
  list.push(value);
  return list;
}

export const keys = (value) => Object.keys(value).sort();
export const copied = (value) => ({ ...value });
export const className = (value) => (typeof value === "number" ? `${value}` : get(value?.constructor, "name") ?? "unknown");

export function number(value) {
  if (typeof value === "string" && /^\d{1,15}(\.\d+)?$/.test(value)) return +value;
  return typeof value === "number" ? value : NaN;
}

const isText = (value) => typeof value === "string";
export const oneOf = (value, words) => (isText(value) ? words.split(" ").indexOf(value) : -1);
export const matches = (value, pattern) => isText(value) && new RegExp(pattern, "i").test(value);
export const holds = (value, part) => isText(value) && isText(part) && value.toLowerCase().includes(part.toLowerCase());
export const replaced = (value, pattern, by) => `${value}`.replace(new RegExp(pattern, "gi"), () => by);

export const filled = (template, ...values) => template.replace(/%([01])/g, (_, at) => values[at]);

// Two 26-bit halves, each a multiplicative hash of the UTF-16 units: enough to notice a mistake.
export function hash(value, seed) {
  let high = seed / 67108864;
  let low = seed;
  for (const unit of `${value}|`) {
    high = Math.imul(high ^ unit.codePointAt(), 0x9e3779b1);
    low = Math.imul(low ^ unit.codePointAt(), 0x85ebca6b) ^ (high >>> 15);
  }
  return (high >>> 6) * 67108864 + (low >>> 6);
}
