// Decides what is asked of the sandbox's own addresses, which the real API lacks; everything here answers null elsewhere.

/** Its templates, with the variables and lengths that the API's own list does not tell. */
export async function sandboxTemplates() {
  const list = await control("templates");
  return Array.isArray(list) ? list : null;
}

/**
 * What the sandbox charged for an operation: `{ jobId }`, with a null id where it charged nothing.
 * It stands in for what a real integration has: a webhook, or a look into the account.
 */
export async function sandboxCharge(operation) {
  const ledger = await control("ledger");
  if (!Array.isArray(ledger?.charges)) return null;
  return { jobId: ledger.charges.find((charge) => charge.idempotency_key === operation)?.job_id ?? null };
}

async function control(name) {
  try {
    const response = await fetch(`/__sandbox/${name}`, { signal: AbortSignal.timeout(10_000) });
    return response.ok ? await response.json() : null;
  } catch {
    // A person's own relay has no such address, and may answer anything. The API's own calls say whether the server is there.
    return null;
  }
}
