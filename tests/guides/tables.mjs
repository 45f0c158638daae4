// The tables that README and docs have from elsewhere: the benches (`peers.json`) and the table of faults.

import { readFile, writeFile } from "node:fs/promises";
import { ELSEWHERE } from "../faults/elsewhere.mjs";
import { TABLE } from "../faults/table.mjs";

const root = new URL("../../", import.meta.url);
const PEERS = new URL("peers.json", import.meta.url);
/** Where each table stands, between `<!-- name -->` and `<!-- /name -->`. */
export const PLACES = [["README.md", "peers"], ["docs/guarantee.md", "charges"], ["docs/polling.md", "polling"], ["docs/faults.md", "faults"]];

const OURS = "custom-template-jobs";
/** The name of each peer, and the schedule in the polling bench that is its own. */
const CLIENTS = {
  replicate: ["`replicate`", "fal, replicate: 0.5 s"],
  "fal-ai-client": ["`@fal-ai/client`", "fal, replicate: 0.5 s"],
  openai: ["`openai`", "openai, tsavo: 5 s"],
  "tsavo-creatify-api-ts": ["`@tsavo/creatify-api-ts`", "openai, tsavo: 5 s"],
};
/** Schedules to compare with. */
const SCHEDULES = ["every 1 s", "fal, replicate: 0.5 s", "Azure core-lro: 2 s", "openai, tsavo: 5 s", "every 10 s", "every 30 s", "AWS waiter: 2 to 15 s", "exponential: 1 s x2 to 30"];

const markdown = (head, rows) => [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
const found = ({ requests, lagSeconds }) => ({ requests: Math.round(requests), lag: Number(lagSeconds.toFixed(1)) });

/** The most charges of one call, over all faults and connections. */
const worst = (faults) => Math.max(...Object.values(faults).flatMap((each) => Object.values(each)).map((cell) => cell?.charges ?? 0));
const worsts = (callers) => Object.fromEntries(Object.entries(callers).map(([name, faults]) => [name, worst(faults)]));

/** What the tables need of a report of `cargo xtask bench`. */
export function summary({ charges, polling, size }) {
  const schedule = (name) => {
    const all = polling.worlds.map(({ others }) => others.find((other) => other.name === name).found);
    return found({ requests: mean(all.map(({ requests }) => requests)), lagSeconds: mean(all.map(({ lagSeconds }) => lagSeconds)) });
  };
  return {
    faults: charges.faults.length - 1,
    charges: { peers: worsts(charges.peers), ours: worsts(charges.ours), relay: worsts(charges["ours, with the key honoured"]) },
    polling: { [OURS]: found(polling.ours), ...Object.fromEntries(SCHEDULES.map((name) => [name, schedule(name)])) },
    brotli: Object.fromEntries(Object.entries(size).map(([name, { brotli }]) => [name, brotli])),
  };
}

const kilobytes = (bytes) => `${Math.round(bytes / 1_000)} KB`;
const seconds = (lag) => `${lag.toFixed(1)} s`;

function peers({ charges, polling, brotli }) {
  const row = (name, charged, { requests, lag }, bytes) => [name, String(charged), String(requests), seconds(lag), kilobytes(bytes)];
  return markdown(["client", "charges, at worst", "polls of a job", "seen late by", "page"], [
    row(`\`${OURS}\``, charges.ours.Node, polling[OURS], brotli[OURS]),
    ...Object.entries(CLIENTS).map(([key, [name, schedule]]) => row(name, charges.peers[key], polling[schedule], brotli[key])),
  ]);
}

function chargesTable({ charges }) {
  return markdown(["client", "charges of one call, at worst", "with a relay that deduplicates"], [
    ...Object.entries(charges.ours).map(([runtime, count]) => [`\`${OURS}\` in ${runtime}`, String(count), String(charges.relay[runtime])]),
    ...Object.entries(CLIENTS).map(([key, [name]]) => [`${name} in Node`, String(charges.peers[key]), ""]),
  ]);
}

function pollingTable({ polling }) {
  const rows = Object.entries(polling).map(([name, { requests, lag }]) => [name === OURS ? `\`${OURS}\`` : name, String(requests), seconds(lag)]);
  return markdown(["schedule", "polls of a job", "end seen late by"], rows);
}

/* ---- the faults ------------------------------------------------------------------------------ */

const errorName = ({ name, kind }) => `\`${name}\`${kind ? ` (\`${kind}\`)` : ""}`;

function readEnd(reads) {
  if (!reads) return "does not apply";
  if (reads.again) return `retried; then ${errorName(reads.error)}`;
  return reads.error ? errorName(reads.error) : "its value";
}

function chargeEnd(charges) {
  if (!charges) return "does not apply";
  if (!charges.verdict) return Object.entries(charges).map(([where, end]) => `${where}: ${chargeEnd(end)}`).join("; ");
  const { verdict, error } = charges;
  if (verdict === "unknown") return "`ChargeUnknownError`";
  return { rejected: `not charged: ${error && errorName(error)}`, "not sent": "not sent, tried three times", bound: "its job" }[verdict];
}

function faults() {
  const rows = TABLE.map(({ n, fault, reads, charges }) => [n, fault, readEnd(reads), chargeEnd(charges)]);
  const others = ELSEWHERE.map(({ n, fault, held = [], tests = held, word = "", note = word }) => {
    if (!tests.length && !note) throw new Error(`fault ${n} has neither a test nor a reason`);
    return [n, fault, note, [...new Set(tests.map(([file]) => `\`${file}\``))].join(", ")];
  });
  const byNumber = (list) => list.toSorted(([a], [b]) => a - b).map(([n, ...rest]) => [String(n), ...rest]);
  return [
    "## On the wire", "", markdown(["#", "fault", "a call that reads", "a call that charges"], byNumber(rows)), "",
    "## Elsewhere", "", markdown(["#", "fault", "remark", "test"], byNumber(others)),
  ].join("\n");
}

/* ---- where they stand ------------------------------------------------------------------------ */

export async function render(name) {
  return { peers, charges: chargesTable, polling: pollingTable, faults }[name](await numbersOf());
}

/** The text of a file with a table in it, and what that text should be. */
export async function places(file, name) {
  const text = await readFile(new URL(file, root), "utf8");
  const between = new RegExp(`(?<=<!-- ${name} -->\n)[^]*?(?=<!-- /${name} -->)`);
  if (!between.test(text)) throw new Error(`${file} has no <!-- ${name} -->`);
  const table = await render(name);
  return { text, wanted: text.replace(between, () => `${table}\n`), write: (wanted) => writeFile(new URL(file, root), wanted) };
}

const numbersOf = async () => JSON.parse(await readFile(PEERS, "utf8"));

/** Whether the size of a page with ours is still what the tables have, to a kilobyte. */
export const isSize = async (bytes) => Math.abs((await numbersOf()).brotli[OURS] - bytes) < 1_000;

export async function recordSize(bytes) {
  const numbers = await numbersOf();
  numbers.brotli[OURS] = bytes;
  await writeFile(PEERS, `${JSON.stringify(numbers, null, 2)}\n`);
}

export const bless = () => Promise.all(PLACES.map(async ([file, name]) => {
  const { wanted, write } = await places(file, name);
  await write(wanted);
}));

/** Writes down what a report has, and the tables of it. */
export async function record(report) {
  await writeFile(PEERS, `${JSON.stringify(summary(report), null, 2)}\n`);
  await bless();
}
