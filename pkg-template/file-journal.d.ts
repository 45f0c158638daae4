import type { Journal } from "./index.js";

/**
 * A journal in a directory, for the option `journal` of a client in Node, Deno or Bun. Any number of processes on one machine
 * may share it. What `create`, `replace`, `write` and `delete` have acknowledged is on the disk, and outlives a process that is
 * killed, also in the middle of a call.
 *
 * The directory is made with mode 0700 where it is missing. It must be on a file system that has hard links (FAT has none).
 * Each method rejects with the path and the reason where it cannot be used. In Deno it needs `--allow-read` and
 * `--allow-write` for the directory.
 *
 * @param directory Its path, or a `file:` URL; nothing else may write to it.
 */
export function fileJournal(directory: string | URL): Required<Journal>;
