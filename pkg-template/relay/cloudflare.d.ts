import type { Relay } from "../relay.js";

export { durableObjectStore } from "../relay.js";

/**
 * One user's account as a Durable Object: budget, jobs and the journal of charges. The worker exports a class that extends this one,
 * and `wrangler.jsonc` names that class in `durable_objects` and in `migrations` (`new_sqlite_classes`).
 *
 * ```ts
 * export class Account extends RelayAccount {
 *   relay = relay;
 * }
 * ```
 */
export class RelayAccount {
  constructor(ctx: any, env: any);
  /** The relay that the account belongs to. */
  relay: Relay<any>;
  /** Called by the relay. */
  run(ask: object): Promise<object>;
  /** Called by the runtime. */
  alarm(): Promise<void>;
}
