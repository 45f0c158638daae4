// What a user may spend: budget periods, and the sum of what operations cost or may still cost.

/** The name of the period that a time is in, in UTC: `2026-11-28` or `2026-11`. */
export const periodOf = (now, period) => new Date(now).toISOString().slice(0, period === "day" ? 10 : 7);

/** When the next period begins, in milliseconds since 1970. */
export function renewsAt(now, period) {
  const date = new Date(now);
  const [year, month, day] = [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()];
  return period === "day" ? Date.UTC(year, month, day + 1) : Date.UTC(year, month + 1, 1);
}

// Whole thousandths of a credit, so that sums are exact.
const thousandths = (credits) => Math.ceil(credits * 1000 - 1e-6);

/** What a user has left in the period of `now`. An operation counts in the period in which it began. */
export function remaining(records, limit, now, period) {
  const current = periodOf(now, period);
  let left = Math.floor(limit * 1000 + 1e-6);
  for (const { createdAt, credits } of records) if (periodOf(createdAt, period) === current) left -= thousandths(credits);
  return Math.max(0, left) / 1000;
}

/**
 * What an operation cost whose job has ended. `credits_used` of a job is the sum of its steps; `others` are the operations of its
 * other steps. A failed step may be refunded or not, and no page of the provider says which, so its reservation stays.
 */
export function costOf(record, job, others) {
  const used = Number(job.credits_used);
  if (job.status !== "done" || !(used > 0)) return record.credits;
  const before = others.reduce((sum, { credits }) => sum + credits, 0);
  return Math.max(0, (thousandths(used) - thousandths(before)) / 1000);
}

/** Whether one more request fits into a minute. `times` are those of the last minute, and get it where it does. */
export function takeTurn(times, limit, now) {
  while (times.length && times[0] <= now - 60_000) times.shift();
  if (times.length >= limit) return { retryAfterMs: times[0] === undefined ? 60_000 : times[0] + 60_000 - now };
  times.push(now);
  return undefined;
}
