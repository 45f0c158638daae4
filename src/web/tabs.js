// Polls that the tabs of one origin, and their workers, share: one polls a job, and all receive the answer.
//
// There is no leader. A tab whose poll is due takes the job's lock, polls, and posts the answer to the others. A tab that waits
// for the lock thus receives the answer, or gets the lock because its holder is gone. A tab that gets the lock asks the others
// first, and one that received an answer a moment ago posts it again. The core decides what an answer is worth.
//
// No lock outlives its request: Firefox keeps no page in its back-forward cache that had one when it was left, even if it lets
// go then.

import { Lock } from "./platform.js";

const MOMENT = 900; // ms in which no tab need poll again: less than the core lets pass between two polls
const REPLY = 80; // ms in which another tab replies, if there is one

/** The tabs of an account. `hear(id, at, answer)` receives what other tabs polled. */
export class Tabs {
  #name;
  #hear;
  #channel;
  #alone = false; // whether nobody replied to the last question, and nobody has asked since
  #turns = new Map(); // id of a job -> this tab's turn

  constructor(name, hear) {
    this.#name = name;
    this.#hear = hear;
  }

  /** The turn to poll a job, with `ready`, `publish` and `free`; undefined where nothing can be shared. */
  turn(id) {
    try {
      if (!navigator.locks) return;
      this.#channel ??= new BroadcastChannel(`custom-template-jobs/${this.#name}`);
      this.#channel.onmessage = ({ data }) => this.#received(data);
    } catch {
      return; // an old browser, a page without TLS, or a frame of no origin
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
    // A holder that posts nothing may be frozen, or its request hangs: then this tab polls without the lock.
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
      if (typeof id === "string" && typeof at === "number") this.#hear(id, at, data);
      return;
    }
    const turn = this.#turns.get(id);
    if (turn?.answer) this.#channel.postMessage(turn.answer);
  }

  // Nothing is open or held any more, so that the page may go to the back-forward cache. The next turn opens it again.
  close = () => {
    removeEventListener("pagehide", this.close);
    this.#channel?.close();
    this.#channel = undefined;
    for (const turn of this.#turns.values()) turn.free();
  };
}
