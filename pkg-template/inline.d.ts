// The types of the entry with the WebAssembly in the script: those of the main entry.
export * from "./index.js";
