// One user's account as a Durable Object.

import { DurableObject } from "cloudflare:workers";
import { durableObjectJournal } from "../durable-object.js";
import { Account } from "./account.js";
import { settingsOf } from "./handler.js";

export { durableObjectStore } from "./stores.js";

export class RelayAccount extends DurableObject {
  #account;

  #own() {
    if (!this.relay) throw new TypeError("class Account extends RelayAccount must have the field `relay = relay`");
    const { storage } = this.ctx;
    const wake = async (ms) => {
      const at = Date.now() + ms;
      const set = await storage.getAlarm();
      if (set === null || set > at) await storage.setAlarm(at);
    };
    return (this.#account ??= new Account(settingsOf(this.relay, this.env), durableObjectJournal(storage), wake));
  }

  /** Responds to a request of the user. Called by the relay. */
  run(ask) {
    return this.#own().run(ask);
  }

  /** Settles open operations. Called by the runtime. */
  async alarm() {
    await this.#own().tick();
  }
}
