// The code samples of the docs. A block of `js` runs in Node as it is printed, `js page` in a page, `js worker` as a worker's
// module; `js fragment` and `html` are checked by the types only.

import { readFile, readdir } from "node:fs/promises";

const docs = new URL("../../docs/", import.meta.url);

/** Each sample: its file, the line on which it begins, how it runs, and its code. */
export async function samples() {
  const files = (await readdir(docs)).filter((file) => file.endsWith(".md")).sort();
  const found = await Promise.all(files.map(async (file) => {
    const text = await readFile(new URL(file, docs), "utf8");
    const blocks = [...text.matchAll(/^```(js|html)(?: (\w+))?\n([^]*?)^```/gm)];
    return blocks.map(({ 1: language, 2: how, 3: code, index }) => ({
      file, line: text.slice(0, index).split("\n").length, how: language === "html" ? "html" : (how ?? "node"), code,
    }));
  }));
  return found.flat();
}

export const nameOf = ({ file, line }) => `${file.replace(/\.md$/, "")}-${line}`;
