// What the core asks of JavaScript's values. It knows each by its place in a table, which is emptied when a step of the
// core is over; what it keeps for longer has a place below 0. A value that misbehaves when it is read is taken for one
// that is not there.

const values = [undefined, true, false];
const kept = [];
const free = [];
const texts = new Map(); // by their place in memory: those that the core says never change
let memory;

export const value = (place) => (place < 0 ? kept[~place] : values[place]);
export const put = (value) => (value === undefined ? 0 : value === true ? 1 : values.push(value) - 1);

// The memory of an instance; nothing that another one kept is held any longer.
export function attach(given) {
  memory = given;
  kept.length = free.length = 0;
}

// The step is over.
export const clear = () => {
  values.length = 3;
};

function word(start, length) {
  const place = start * 65536 + length;
  if (!texts.has(place)) texts.set(place, new TextDecoder().decode(new Uint8Array(memory.buffer, start, length)));
  return texts.get(place);
}

export function keep(place) {
  if (place >= 0 && place < 3) return place;
  const at = free.pop() ?? kept.length;
  kept[at] = value(place);
  return ~at;
}

export function release(place) {
  if (place >= 0) return;
  kept[~place] = undefined;
  free.push(~place);
}

export const text = (start, length) => put(word(start, length));

export function kind(place) {
  const it = value(place);
  if (it === undefined) return 0;
  if (it === null) return 1;
  if (typeof it === "boolean") return 2;
  if (typeof it === "number") return Number.isFinite(it) ? 3 : 7;
  if (typeof it === "string") return 4;
  if (typeof it !== "object") return 7;
  try {
    if (Array.isArray(it)) return 5;
    // Plain in whichever realm: its prototype is nobody's, or is one that has none itself.
    const prototype = Object.getPrototypeOf(it);
    return prototype && Object.getPrototypeOf(prototype) ? 7 : 6;
  } catch {
    return 7; // a revoked proxy
  }
}

const read = (it, key) => {
  try {
    return it?.[key];
  } catch {}
};
export const nth = (place, index) => put(read(value(place), index));
export const get = (place, start, length) => nth(place, word(start, length));
export const at = (place, key) => nth(place, value(key));

export function set(place, start, length, field) {
  if (!place) place = put({});
  if (field) value(place)[word(start, length)] = value(field);
  return place;
}

export function push(place, element) {
  if (!place) return put([]);
  value(place).push(value(element));
  return place;
}

export const equal = (one, other) => value(one) === value(other);
export const keys = (place) => put(Object.keys(value(place)).sort());
export const copied = (place) => put({ ...value(place) });
export const className = (place) => {
  const it = value(place);
  return put(typeof it === "number" ? `${it}` : read(read(it, "constructor"), "name") ?? "unknown");
};

export function number(place) {
  const it = value(place);
  if (typeof it === "string" && /^\d{1,15}(\.\d+)?$/.test(it)) return +it;
  return typeof it === "number" ? it : NaN;
}

// Whatever has no words is an empty text.
function spelled(place) {
  try {
    return `${value(place)}`;
  } catch {
    return "";
  }
}

export const oneOf = (place, start, length) => word(start, length).split(" ").indexOf(value(place));
export const matches = (place, start, length) => typeof value(place) === "string" && new RegExp(word(start, length), "i").test(value(place));
export const holds = (place, part) => {
  const [it, other] = [value(place), value(part)];
  return typeof it === "string" && typeof other === "string" && it.toLowerCase().includes(other.toLowerCase());
};
export const replaced = (place, start, length, by) =>
  put(spelled(place).replace(new RegExp(word(start, length), "gi"), () => spelled(by)));

export const filled = (start, length, ...places) => put(word(start, length).replace(/%([01])/g, (_, at) => spelled(places[at])));

// Two 26-bit halves, each a multiplicative hash of the UTF-16 units: enough to notice a mistake.
export function hash(place, seed) {
  let high = seed / 67108864;
  let low = seed;
  for (const unit of spelled(place) + "|") {
    high = Math.imul(high ^ unit.codePointAt(), 0x9e3779b1);
    low = Math.imul(low ^ unit.codePointAt(), 0x85ebca6b) ^ (high >>> 15);
  }
  return (high >>> 6) * 67108864 + (low >>> 6);
}
