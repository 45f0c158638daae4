// The entry of the relay for Node, Deno and Bun, with `fileStore`.
export * from "./relay.js";
export { fileStore } from "./relay/file-store.js";
