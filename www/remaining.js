// Decides what is said of the time that a job still needs: words that hold for a while, and never a number that jumps.

/** The words, and up to how many milliseconds they are said of. An estimate is no better than that, so further off none is counted. */
const BANDS = [
  { most: -20_000, words: "taking longer than expected" },
  { most: 8_000, words: "any moment now" },
  { most: 60_000, words: "less than a minute left" },
  { most: 120_000, words: "about 1 to 2 minutes left" },
  { most: 240_000, words: "about 2 to 4 minutes left" },
  { most: Infinity, words: "several minutes left" },
];

/** An estimate is taken to be longer by this share before less is said: who is told a minute should not wait for two. */
const CAUTION = 1.15;
/** It is taken to be shorter by this share and so many milliseconds before more is said: else the words come and go. */
const CALM = { share: 1.5, ms: 10_000 };
/** Progress below this says little of the rest: work that is slow to begin would be said to take an hour. */
const TELLING = 0.15;

/** When the job is expected to end after an update, on the clock of `now`, or null where nobody knows; `before` is what it was. */
export function expectedEnd(before, { job, remainingMs }, now) {
  const share = job.progress > 1 ? job.progress / 100 : job.progress;
  if (share > 0 && share < TELLING) return before;
  if (remainingMs !== undefined) return now + remainingMs;
  // An end that has gone by is still what was expected; one that lies ahead of the next update has been taken back.
  return before !== null && before <= now + 1_000 ? before : null;
}

/** The band to speak of where `left` milliseconds are left, or null where nobody knows; `band` is the one spoken of before. */
export function nextBand(band, left) {
  if (left === null) return null;
  const cautious = bandOf(left * CAUTION);
  if (band === null || cautious < band) return cautious;
  return bandOf(left / CALM.share - CALM.ms) > band ? bandOf(left) : band;
}

/** The words of a band; none where nobody knows. */
export function bandWords(band) {
  return BANDS[band]?.words ?? "";
}

function bandOf(left) {
  return BANDS.findIndex(({ most }) => left <= most);
}
