// The entry of the relay where there are no files: Workers and edge runtimes.
export { createRelay } from "./relay/handler.js";
export { toNodeListener } from "./relay/node-listener.js";
export { durableObjectStore, memoryStore } from "./relay/stores.js";
