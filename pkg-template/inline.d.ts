// The entry for one single file has the types of the main entry.
export * from "./index.js";
