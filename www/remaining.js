// The remaining time of a job in words that stay true for a while, instead of a number that jumps.

/** The words, and the most milliseconds that each covers. Estimates are not precise enough for more steps. */
const BANDS = [
  { most: -20_000, words: "taking longer than expected" },
  { most: 8_000, words: "any moment now" },
  { most: 60_000, words: "less than a minute left" },
  { most: 120_000, words: "about 1 to 2 minutes left" },
  { most: 240_000, words: "about 2 to 4 minutes left" },
  { most: Infinity, words: "several minutes left" },
];

/** An estimate is lengthened by this share before a shorter band is shown, so that "a minute" does not become two. */
const CAUTION = 1.15;
/** It is shortened by this share and these milliseconds before a longer band is shown, so that the words do not flicker. */
const CALM = { share: 1.5, ms: 10_000 };
/** Below this progress nothing is shown: a slow start would suggest hours. */
const TELLING = 0.15;

/** The expected end of the job after an update, on the clock of `now`, or null if unknown. `before` is the previous one. */
export function expectedEnd(before, { job, remainingMs }, now) {
  const share = job.progress > 1 ? job.progress / 100 : job.progress;
  if (share > 0 && share < TELLING) return before;
  if (remainingMs !== undefined) return now + remainingMs;
  // A past end stays. An end in the future is replaced by the new estimate.
  return before !== null && before <= now + 1_000 ? before : null;
}

/** The band for `left` remaining milliseconds, or null if unknown. `band` is the current one. */
export function nextBand(band, left) {
  if (left === null) return null;
  const cautious = bandOf(left * CAUTION);
  if (band === null || cautious < band) return cautious;
  return bandOf(left / CALM.share - CALM.ms) > band ? bandOf(left) : band;
}

/** The words of a band; empty if unknown. */
export function bandWords(band) {
  return BANDS[band]?.words ?? "";
}

function bandOf(left) {
  return BANDS.findIndex(({ most }) => left <= most);
}
