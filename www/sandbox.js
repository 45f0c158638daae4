// Calls of the sandbox's own endpoints, which the real API lacks. Elsewhere each returns null.

/** The sandbox's templates, with the variables and lengths that the API's list lacks. */
export async function sandboxTemplates() {
  const list = await control("templates");
  return Array.isArray(list) ? list : null;
}

/**
 * The sandbox's charge for an operation: `{ jobId }`, with a null id if it charged nothing.
 * A real integration has a webhook, or a person who checks the account.
 */
export async function sandboxCharge(operation) {
  const ledger = await control("ledger");
  if (!Array.isArray(ledger?.charges)) return null;
  return { jobId: ledger.charges.find((charge) => charge.idempotency_key === encodeURIComponent(operation))?.job_id ?? null };
}

async function control(name) {
  try {
    const response = await fetch(`/__sandbox/${name}`, { signal: AbortSignal.timeout(10_000) });
    return response.ok ? await response.json() : null;
  } catch {
    // Another relay has no such endpoint and may answer anything. The API's own calls show whether the server can be reached.
    return null;
  }
}
