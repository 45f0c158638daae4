// The budget of a user: periods, and the sum of the costs and reservations of operations.

/** The name of the period that a time is in, in UTC: `2026-11-28` or `2026-11`. */
export const periodOf = (now, period) => new Date(now).toISOString().slice(0, period === "day" ? 10 : 7);

/** The start of the next period, in milliseconds since 1970. */
export function renewsAt(now, period) {
  const date = new Date(now);
  const [year, month, day] = [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()];
  return period === "day" ? Date.UTC(year, month, day + 1) : Date.UTC(year, month + 1, 1);
}

// Whole thousandths of a credit, so that sums are exact.
const thousandths = (credits) => Math.ceil(credits * 1000 - 1e-6);

/** The rest of a user's budget in the period of `now`. An operation counts in the period in which it began. */
export function remaining(records, limit, now, period) {
  const current = periodOf(now, period);
  let left = Math.floor(limit * 1000 + 1e-6);
  for (const { createdAt, credits } of records) if (periodOf(createdAt, period) === current) left -= thousandths(credits);
  return Math.max(0, left) / 1000;
}

/**
 * The cost of an operation whose job has ended. A job's `credits_used` is the sum of its steps; `others` are the operations of the
 * other steps. Whether a failed step is refunded is not documented, so its reservation stays.
 */
export function costOf(record, job, others) {
  const used = Number(job.credits_used);
  if (job.status !== "done" || !(used > 0)) return record.credits;
  const before = others.reduce((sum, { credits }) => sum + credits, 0);
  return Math.max(0, (thousandths(used) - thousandths(before)) / 1000);
}

/** Checks the rate limit, and adds the request to `times`, the requests of the last minute, if it fits. */
export function takeTurn(times, limit, now) {
  while (times.length && times[0] <= now - 60_000) times.shift();
  if (times.length >= limit) return { retryAfterMs: times[0] === undefined ? 60_000 : times[0] + 60_000 - now };
  times.push(now);
  return undefined;
}
