import type { Journal } from "./index.js";

/** The part of a Durable Object's storage that a journal needs; `ctx.storage` has it, whichever backend it is on. */
export interface DurableObjectStorageLike {
  get(key: string): Promise<unknown>;
  put(key: string, value: string): Promise<void>;
  list(options: { prefix: string }): Promise<Map<string, unknown>>;
  transaction<T>(closure: (inside: { get(key: string): Promise<unknown>; put(key: string, value: string): Promise<void>; delete(key: string): Promise<boolean> }) => Promise<T>): Promise<T>;
}

/**
 * A journal for the option `journal` of a client inside a Durable Object. `create`, `replace` and `delete` are atomic there, so one operation id
 * is one charge for every request that reaches the object, also after its isolate was stopped in the middle of one.
 *
 * @param storage `ctx.storage` of the object.
 */
export function durableObjectJournal(storage: DurableObjectStorageLike): Required<Journal>;
