// The entry that knows of no .wasm: every call rejects with LoadError until `init(source)` has loaded one.
export * from "./client.js";
