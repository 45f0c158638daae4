import type { Journal } from "./index.js";

/**
 * Creates a journal in a directory, for the option `journal` of a client in Node, Deno or Bun. Any number of processes on one
 * machine may share it. When `create`, `replace`, `write` or `delete` resolves, the change is on the disk and survives a process
 * that is killed.
 *
 * A missing directory is created with mode 0700. The file system must support hard links (FAT does not). If the directory cannot be
 * used, each method rejects with its path and the reason. Deno needs `--allow-read` and `--allow-write` for it.
 *
 * @param directory The path, or a `file:` URL. Nothing else may write to the directory.
 */
export function fileJournal(directory: string | URL): Required<Journal>;
