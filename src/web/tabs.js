// Decides how the tabs of one origin, and their workers, share what they ask the server: one looks at a job, and all hear it.
//
// Nobody leads. Whoever's look is due takes the job's lock, asks the server, and tells the others. So who has to wait for the
// lock hears what it waits for, or gets the lock because whoever had it is gone. Whoever gets it asks the others first, and a
// tab that heard something a moment ago answers. What is heard moves everybody's next look; what it is worth, the core decides.
//
// No lock outlives its request: Firefox keeps no page for the way back that had one when it was left, even if it lets go then.

// Milliseconds in which no tab need look again: less than the core lets pass between two looks.
const MOMENT = 900;
// Milliseconds in which another tab answers, if there is one.
const ANSWER = 80;

export class Tabs {
  #channel;
  #alone = false; // whether the last question was answered by nobody, and nobody has asked since
  #looks = new Map(); // id of a job -> what this tab has begun for it

  // `hear` is given what others hear: an answer, the `id` of its job, and `at`, when it was asked for.
  constructor(hear) {
    this.hear = hear;
  }

  // What `send` comes to. `name` is an account, a slash, and the id of a job; where `signal` aborts, nobody waits for it.
  async look(name, signal, send) {
    const { locks } = navigator;
    const [account, id] = name.split("/");
    try {
      this.#channel ??= locks && new BroadcastChannel(`custom-template-jobs/${account}`);
      this.#channel.onmessage = ({ data }) => {
        const { id, status } = data ?? {};
        this.#alone = false;
        if (status) this.hear(data);
        const look = this.#looks.get(id);
        // Whoever waits still wants a better one.
        if (status) look?.waiting.abort();
        else if (look?.answer) this.#channel.postMessage(look.answer);
      };
    } catch {
      return send(); // an old browser, a page without TLS, or a frame of no origin
    }
    addEventListener("pagehide", this.close);
    this.#looks.get(id)?.free();
    const waiting = new AbortController();
    const look = { waiting };
    let timer;
    let unlock;
    const held = new Promise((resolve) => (unlock = resolve));
    look.free = () => {
      clearTimeout(timer);
      this.#looks.delete(id);
      waiting.abort();
      unlock();
    };
    this.#looks.set(id, look);
    signal.addEventListener("abort", () => waiting.abort());
    this.#channel.postMessage({ id });
    // Who has the lock and says nothing may be frozen, or its request hangs: then this tab looks without it.
    setTimeout(() => waiting.abort(), MOMENT * (1 + Math.random()));
    await new Promise((go) => {
      locks.request(`custom-template-jobs/look/${name}`, { signal: waiting.signal }, () => (go(), held)).catch(go);
    });
    if (!this.#alone) {
      this.#alone = true;
      await new Promise((go) => setTimeout(go, ANSWER));
    }
    if (signal.aborted) return look.free();
    const at = Date.now();
    const answer = await send();
    if (answer.status) {
      look.answer = { ...answer, id, at };
      this.#channel?.postMessage(look.answer);
      unlock();
      timer = setTimeout(look.free, MOMENT);
    } else look.free();
    return answer;
  }

  // Nothing is open or held any more, so that the page may go to the back-forward cache. The next look opens it again.
  close = () => {
    removeEventListener("pagehide", this.close);
    this.#channel?.close();
    this.#channel = undefined;
    for (const look of this.#looks.values()) look.free();
  };
}
