// Polls that the tabs of one origin, and their workers, share: one polls a job, and all receive the answer.
//
// There is no leader. A tab whose poll is due takes the job's lock, polls, and posts the response to the others. A tab that waits
// for the lock thus receives the response, or gets the lock because its holder is gone. A tab that gets the lock first asks the
// others, and a tab with a recent response posts it again. The core decides whether to use a response.
//
// No lock outlives its request: Firefox keeps no page in its back-forward cache that held one when it was left, even if it then
// releases the lock.

import { Lock } from "./platform.js";

const MOMENT = 900; // ms for which a response is recent: less than the core's shortest interval
const REPLY = 80; // ms to wait for the reply of another tab

/** The tabs of an account. `receive(id, at, answer)` receives the responses that other tabs polled. */
export class Tabs {
  #name;
  #receive;
  #channel;
  #alone = false; // whether the last question had no reply, and no other tab has asked since
  #turns = new Map(); // id of a job -> this tab's turn

  constructor(name, receive) {
    this.#name = name;
    this.#receive = receive;
  }

  /** The turn to poll a job, with `ready`, `publish` and `free`; undefined if nothing can be shared. */
  turn(id) {
    try {
      if (!navigator.locks) return;
      this.#channel ??= new BroadcastChannel(`custom-template-jobs/${this.#name}`);
      this.#channel.onmessage = ({ data }) => this.#received(data);
    } catch {
      return; // an old browser, a page without TLS, or a frame without an origin
    }
    addEventListener("pagehide", this.close);
    this.#turns.get(id)?.free();
    const turn = { answer: undefined };
    let lock = new Lock(`custom-template-jobs/look/${this.#name}/${id}`);
    let timer;
    turn.unlock = () => lock.release();
    turn.free = () => {
      clearTimeout(timer);
      if (this.#turns.get(id) === turn) this.#turns.delete(id);
      lock.release();
    };
    turn.publish = (at, answer) => {
      turn.answer = { ...answer, id, at };
      this.#channel?.postMessage(turn.answer);
      lock.release();
      timer = setTimeout(turn.free, MOMENT);
    };
    this.#turns.set(id, turn);
    this.#channel.postMessage({ id });
    turn.ready = this.#ready(lock);
    return turn;
  }

  async #ready(lock) {
    // A holder that posts nothing may be frozen, or its request may hang: then this tab polls without the lock.
    let timer;
    await Promise.race([lock.ready, new Promise((go) => (timer = setTimeout(go, MOMENT * (1 + Math.random()))))]);
    clearTimeout(timer);
    if (this.#alone) return;
    this.#alone = true;
    await new Promise((go) => setTimeout(go, REPLY));
  }

  // Any script of the origin may post anything here.
  #received(data) {
    const { id, status, at } = data ?? {};
    this.#alone = false;
    if (status) {
      if (typeof id === "string" && typeof at === "number") this.#receive(id, at, data);
      return;
    }
    const turn = this.#turns.get(id);
    if (turn?.answer) this.#channel.postMessage(turn.answer);
  }

  // Closes the channel and releases all locks, so that the page may enter the back-forward cache. The next turn opens it again.
  close = () => {
    removeEventListener("pagehide", this.close);
    this.#channel?.close();
    this.#channel = undefined;
    for (const turn of this.#turns.values()) turn.free();
  };
}
