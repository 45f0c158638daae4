import type { Relay } from "../relay.js";

export { durableObjectStore } from "../relay.js";

/**
 * One user's account as a Durable Object: money, jobs and the journal of charges. The worker exports a class of its own that
 * extends this one, which `wrangler.jsonc` names in `durable_objects` and in `migrations` (`new_sqlite_classes`).
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
