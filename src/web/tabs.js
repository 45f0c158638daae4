// Decides how the tabs of one origin, and their workers, share what they ask the server: one looks at a job, and all hear it.
//
// Nobody leads. Whoever's look is due takes the job's lock, asks the server, tells the others, and keeps the lock for a
// moment longer, in which it answers whoever asks. So who has to wait for the lock hears what it waits for, or gets the
// lock because whoever had it is gone. What is heard moves everybody's next look; what it is worth, the core decides.

const MOMENT = 900; // ms in which no tab need look again: less than the core lets pass between two looks
const PATIENCE = 1000; // ms, and up to as many more, with a tab that has the lock and says nothing: it may be frozen

export class Tabs {
  #channel;
  #looks = new Map(); // id of a job -> what this tab has begun for it

  // Whoever has it is told what other tabs hear: `hear` gets an answer, the `id` of its job, and `at`, when it was asked for.
  constructor(hear) {
    this.hear = hear;
  }

  // What `send` comes to; it is not called where `signal` aborts first. `name` is an account, a slash, and the id of a job.
  async look(name, signal, send) {
    const { locks } = navigator;
    const [account, id] = name.split("/");
    if (!locks || !this.#open(account)) return send();
    this.#looks.get(id)?.free();
    const waiting = new AbortController();
    const look = {};
    const held = new Promise((resolve) => {
      look.free = () => {
        if (this.#looks.get(id) === look) this.#looks.delete(id);
        waiting.abort();
        resolve();
      };
    });
    this.#looks.set(id, look);
    signal.addEventListener("abort", look.free);
    let timer;
    await new Promise((go) => {
      // Where there are no locks after all, or it is taken away, each looks for itself.
      const lock = (how) => locks.request(`custom-template-jobs/look/${name}`, how, () => (go(), held)).catch(go);
      look.take = () => {
        waiting.abort();
        lock({ steal: true });
      };
      timer = setTimeout(look.take, PATIENCE * (1 + Math.random()));
      lock({ signal: waiting.signal });
      this.#channel.postMessage({ id });
    });
    clearTimeout(timer);
    look.take = undefined;
    const at = Date.now();
    const answer = await send();
    if (answer.status) {
      look.answer = { ...answer, id, at };
      this.#channel?.postMessage(look.answer);
      setTimeout(look.free, MOMENT);
    } else look.free();
    return answer;
  }

  #open(account) {
    if (this.#channel) return true;
    try {
      this.#channel = new BroadcastChannel(`custom-template-jobs/${account}`);
    } catch {
      return false;
    }
    this.#channel.onmessage = ({ data }) => {
      const look = this.#looks.get(data?.id);
      if (data?.status) {
        this.hear(data);
        // It was not good enough.
        this.#looks.get(data.id)?.take?.();
      } else if (look?.answer) this.#channel.postMessage(look.answer);
    };
    addEventListener("pagehide", this.close);
    return true;
  }

  // Nothing is open or held any more: a page that goes to the back-forward cache must not hold anything. The next look opens it.
  close = () => {
    removeEventListener("pagehide", this.close);
    this.#channel?.close();
    this.#channel = undefined;
    for (const look of this.#looks.values()) look.free();
  };

  // Once nobody waits any more, and the others have heard the end.
  rest(busy) {
    setTimeout(() => busy() || this.close(), MOMENT);
  }
}
