import type { Journal } from "./index.js";

/** The methods of a Durable Object's storage that the journal uses. `ctx.storage` has them, with either backend. */
export interface DurableObjectStorageLike {
  get(key: string): Promise<unknown>;
  put(key: string, value: string): Promise<void>;
  list(options: { prefix: string }): Promise<Map<string, unknown>>;
  transaction<T>(closure: (inside: { get(key: string): Promise<unknown>; put(key: string, value: string): Promise<void>; delete(key: string): Promise<boolean> }) => Promise<T>): Promise<T>;
}

/**
 * Creates a journal in the storage of a Durable Object, for the option `journal` of a client inside it. Its writes are atomic, so one
 * operation id is one charge for all requests of the object, even if its isolate is stopped in the middle of a charge.
 *
 * @param storage The object's `ctx.storage`.
 */
export function durableObjectJournal(storage: DurableObjectStorageLike): Required<Journal>;
