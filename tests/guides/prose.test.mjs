// The prose of README and docs. The rule set: write-good (without its rules on the passive and on "to be"), the words that the
// design excludes, and the lengths of sentences and paragraphs.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile, readdir } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = fileURLToPath(new URL("../../", import.meta.url));
const docs = (await readdir(`${root}docs`)).filter((file) => file.endsWith(".md")).map((file) => `docs/${file}`);
const FILES = ["README.md", "pkg-template/README.md", ...docs];

/** What write-good finds and what stays, each with the reason. */
const ACCEPTED = [
  [/^"only" can weaken/i, "says that something is excluded, which is exact"],
  [/^"it (is|was)" is wordy/i, "a short sentence with a pronoun as its subject"],
  [/^"(equally|likely)" can weaken/i, "a probability"],
];

/** Words that say nothing to a reader who does not know the project, by the design's word list. */
const EXCLUDED = /\b(is told|are told|tells|hears?|is heard|becomes? of|became of|comes to|looks?|worth looking|worth asking|whoever|under way|posted|the house)\b/gi;
const [WORDS, PARAGRAPH, LINES] = [20, 400, 120];

const read = (file) => readFile(root + file, "utf8");

/** The paragraphs and list items of a file, without code, tables and headings; a link is its text, and code in a line one word. */
function paragraphs(markdown) {
  const text = markdown.replaceAll(/^```[^]*?^```$/gm, "").replaceAll(/<!--[^]*?-->/g, "").replaceAll(/^(\||#|!\[|\s*<).*$/gm, "");
  const blocks = text.split(/\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )/).map((block) => block.replaceAll(/\s+/g, " ").trim());
  const plain = blocks.map((block) => block.replace(/^([-*]|\d+\.) /, "").replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").replaceAll("**", ""));
  return plain.filter(Boolean);
}

const sentences = (paragraph) => paragraph.replaceAll(/`[^`]*`/g, "code").split(/[.!?:](?:\s|$)/).map((sentence) => sentence.split(/\s+/).filter(Boolean)).filter(({ length }) => length);

test("write_good_finds_nothing_that_is_not_accepted_with_a_reason", async () => {
  const tool = fileURLToPath(new URL("../../docs/node_modules/textlint/bin/textlint.js", import.meta.url));
  const args = [tool, "--config", "docs/.textlintrc.json", "--format", "json", ...FILES];
  // It ends with 1 where it finds something.
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root, maxBuffer: 1e8 }).catch((error) => error);
  const results = JSON.parse(stdout);
  assert.equal(results.length, FILES.length);
  const found = results.flatMap(({ filePath, messages }) => messages.map(({ line, message }) => ({ at: `${filePath.replace(root, "")}:${line}`, message })));
  const open = found.filter(({ message }) => !ACCEPTED.some(([pattern]) => pattern.test(message)));
  assert.deepEqual(open.map(({ at, message }) => `${at}: ${message}`), []);
  const unused = ACCEPTED.filter(([pattern]) => !found.some(({ message }) => pattern.test(message)));
  assert.deepEqual(unused, [], "accepted, and not found any more");
});

test("no_text_has_a_word_that_the_design_excludes", async () => {
  const found = await Promise.all(FILES.map(async (file) => paragraphs(await read(file)).flatMap((text) => [...text.matchAll(EXCLUDED)].map(([word]) => `${file}: ${word}: ${text.slice(0, 80)}`))));
  assert.deepEqual(found.flat(), []);
});

test(`sentences_have_less_than_${WORDS}_words_on_average`, async () => {
  for (const file of FILES) {
    const lengths = paragraphs(await read(file)).flatMap(sentences).map(({ length }) => length);
    const average = lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
    assert.ok(lengths.length > 2 && average < WORDS, `${file}: ${average.toFixed(1)} words`);
  }
});

test(`the_readme_has_at_most_${LINES}_lines_and_paragraphs_of_${PARAGRAPH}_characters`, async () => {
  const text = await read("README.md");
  assert.ok(text.split("\n").length <= LINES);
  assert.deepEqual(paragraphs(text).filter(({ length }) => length > PARAGRAPH), []);
});
