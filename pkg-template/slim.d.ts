// The entry that loads by `init(source)` alone has the types of the main entry.
export * from "./index.js";
