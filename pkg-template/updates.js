// The updates of a job, as an iterator reads them.

import { later } from "./calls.js";

// The updates of a job until they are read. There may be thousands of these, so each holds little.
class Steps {
  unread = []; // [0, result, whether the job changed] or [1, error]
  readers = []; // [resolve, reject] of reads that wait
  last; // the job of the newest update
  over;

  constructor(listener) {
    this.listener = listener;
  }

  // Gives a result (how = 0) or an error (how = 1) to the first reader.
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

  // Called by the call, in a microtask of its own. A slow reader gets each change of the job, and of the rest the newest.
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

  // Its job was the last update.
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

// The iterator of `watch`. Nothing is sent before the first read.
export class Updates {
  // Vue puts no proxy around an object with a tag of its own; through one, no private member could be reached.
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
