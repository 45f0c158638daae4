// The async iterators over the updates of a job.

import { later } from "./calls.js";

// A queue of updates. There may be thousands, so each holds little.
class Steps {
  unread = []; // [0, result, whether the job changed] or [1, error]
  readers = []; // [resolve, reject] of pending reads
  last; // the job of the newest update
  over;

  constructor(listener) {
    this.listener = listener;
  }

  // Settles the first pending read, with a result (how = 0) or an error (how = 1).
  push(how, step = { done: true, value: undefined }, changed) {
    const reader = this.readers.shift();
    if (reader) reader[how](step);
    else this.unread.push([how, step, changed]);
  }

  read(...reader) {
    this.readers = this.readers.concat([reader]); // an array that grows by push reserves more memory
    const step = this.unread.shift() ?? (this.over && [0]);
    if (step) this.push(...step);
  }

  end() {
    this.over = true;
    while (this.readers.length) this.push(0);
  }

  // Takes an update. A slow reader gets each change of the job, and the newest of the other updates.
  onUpdate(job, update) {
    let changed = job !== this.last;
    this.last = job;
    const unread = this.unread.at(-1);
    if (unread && !(changed && unread[2])) {
      changed ||= unread[2];
      this.unread.pop();
    }
    this.push(0, { done: false, value: update }, changed);
    this.listener?.(job, update);
  }

  // The last update had the final job.
  resolve() {
    later(() => this.end());
  }

  reject(error) {
    later(() => {
      if (!this.over) this.push(1, error);
      this.end();
    });
  }
}

// The iterator of `watch`. It sends nothing before the first read.
export class Updates {
  // Vue does not proxy an object with its own tag. A proxy would hide the private members.
  get [Symbol.toStringTag]() {
    return "Updates";
  }

  #begin;
  #call;
  #steps;

  constructor(begin, onUpdate) {
    this.#begin = begin;
    this.#steps = new Steps(onUpdate);
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  next() {
    const begin = this.#begin;
    this.#begin = undefined;
    try {
      if (begin) this.#call = begin(this.#steps);
    } catch (thrown) {
      this.#steps.reject(thrown);
    }
    return new Promise((...reader) => this.#steps.read(...reader));
  }

  async return(value) {
    this.#begin = undefined;
    this.#steps.unread = [];
    this.#steps.end();
    if (this.#call && !this.#call.ended) this.#call.quit();
    return { done: true, value };
  }
}
