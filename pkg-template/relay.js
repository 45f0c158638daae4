// The entry of the relay for Workers and edge runtimes, without `fileStore`.
export { createRelay } from "./relay/handler.js";
export { toNodeListener } from "./relay/node-listener.js";
export { durableObjectStore, memoryStore } from "./relay/stores.js";
