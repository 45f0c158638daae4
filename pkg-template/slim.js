// The entry without a .wasm. Every call rejects with LoadError until `init(source)` has loaded one.
export * from "./client.js";
