// Decides what this page remembers between visits: one small entry per card, so that two open tabs do not overwrite each other's.

const PREFIX = "custom-template-jobs/card/";
const DISMISSED = "custom-template-jobs/dismissed";
const LIMIT = 40;

/** The fields that outlive the page. The job itself is asked for again: the server knows it better. */
const KEPT = ["key", "jobId", "operation", "step", "template", "title", "startedAt", "endedAt"];

/** Every card of earlier visits, newest first. What another version of the page wrote is left out. */
export function loadCards() {
  const cards = [];
  try {
    for (const name of Object.keys(localStorage)) {
      if (!name.startsWith(PREFIX)) continue;
      const card = parse(localStorage.getItem(name));
      if (card) cards.push(card);
    }
  } catch {
    // Storage can be turned off; the page then simply starts empty.
  }
  cards.sort((a, b) => b.startedAt - a.startedAt);
  for (const old of cards.splice(LIMIT)) forgetCard(old);
  return cards;
}

/** Remembers a card as it is now. */
export function saveCard(card) {
  const kept = Object.fromEntries(KEPT.map((name) => [name, card[name]]));
  try {
    localStorage.setItem(PREFIX + card.key, JSON.stringify(kept));
  } catch {
    // Full or turned off: the card lives as long as the page.
  }
}

/** Forgets a card that was dismissed. */
export function forgetCard(card) {
  try {
    localStorage.removeItem(PREFIX + card.key);
  } catch {
    // Nothing was kept, so nothing is left behind.
  }
}

/**
 * What was dismissed here while the library's journal still speaks of it, by job id, or by operation where no job is known.
 * The journal forgets nothing that was paid for; what is looked at is this page's affair.
 */
export function loadDismissed() {
  try {
    const list = JSON.parse(localStorage.getItem(DISMISSED));
    return new Set(Array.isArray(list) ? list : []);
  } catch {
    return new Set();
  }
}

/** Remembers what was dismissed. */
export function saveDismissed(ids) {
  try {
    localStorage.setItem(DISMISSED, JSON.stringify([...ids]));
  } catch {
    // Full or turned off: it comes back with the next visit.
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
