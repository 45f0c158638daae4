// The storage of the page: one small entry per card, so that two open tabs do not overwrite each other's.

const PREFIX = "custom-template-jobs/card/";
const DISMISSED = "custom-template-jobs/dismissed";
const LIMIT = 40;

/** The stored fields. The job itself is fetched again. */
const KEPT = ["key", "jobId", "operation", "step", "template", "title", "startedAt", "endedAt"];

/** The cards of earlier visits, newest first. Entries of other versions of the page are skipped. */
export function loadCards() {
  const cards = [];
  try {
    for (const name of Object.keys(localStorage)) {
      if (!name.startsWith(PREFIX)) continue;
      const card = parse(localStorage.getItem(name));
      if (card) cards.push(card);
    }
  } catch {
    // Storage can be disabled; the page then starts empty.
  }
  cards.sort((a, b) => b.startedAt - a.startedAt);
  for (const old of cards.splice(LIMIT)) forgetCard(old);
  return cards;
}

/** Stores a card. */
export function saveCard(card) {
  const kept = Object.fromEntries(KEPT.map((name) => [name, card[name]]));
  try {
    localStorage.setItem(PREFIX + card.key, JSON.stringify(kept));
  } catch {
    // Full or disabled: the card lasts as long as the page.
  }
}

/** Deletes a dismissed card. */
export function forgetCard(card) {
  try {
    localStorage.removeItem(PREFIX + card.key);
  } catch {
    // Disabled: nothing was stored.
  }
}

/**
 * The dismissed cards that the journal still lists, by job id, or by operation if no job is known. The journal keeps everything
 * that was paid for, so the page itself remembers what to hide.
 */
export function loadDismissed() {
  try {
    const list = JSON.parse(localStorage.getItem(DISMISSED));
    return new Set(Array.isArray(list) ? list : []);
  } catch {
    return new Set();
  }
}

/** Stores the dismissed cards. */
export function saveDismissed(ids) {
  try {
    localStorage.setItem(DISMISSED, JSON.stringify([...ids]));
  } catch {
    // Full or disabled: the card comes back with the next visit.
  }
}

function parse(text) {
  let card;
  try {
    card = JSON.parse(text);
  } catch {
    return null;
  }
  const whole = card !== null && typeof card === "object"
    && typeof card.key === "string" && ["preview", "render", "submit"].includes(card.step)
    && (typeof card.jobId === "string" || typeof card.operation === "string")
    && typeof card.startedAt === "number" && typeof card.template?.name === "string";
  return whole ? card : null;
}
