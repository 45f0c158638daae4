// The types of the entry without a .wasm: those of the main entry.
export * from "./index.js";
