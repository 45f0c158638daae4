// Operation ids.

/** A random UUID, version 4. */
export function newOperation() {
  const { crypto } = globalThis;
  if (crypto?.randomUUID) return crypto.randomUUID();
  // Pages without TLS have only `getRandomValues`.
  const bytes = new Uint8Array(16);
  if (crypto?.getRandomValues) crypto.getRandomValues(bytes);
  else bytes.forEach((_, index) => (bytes[index] = Math.random() * 256));
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** Checks an operation id: `undefined` if it is valid, otherwise `{ field, message }`. */
export function checkOperation(id) {
  if (typeof id === "string" && id && id.length <= 255 && !/\p{Cs}/u.test(id)) return;
  return { field: "operation", message: "operation must be a string of 1 to 255 characters, without half of a surrogate pair" };
}
