// The entry of the relay for Node, Deno and Bun, which have files.
export * from "./relay.js";
export { fileStore } from "./relay/file-store.js";
