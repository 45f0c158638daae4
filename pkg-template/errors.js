// The errors that callers get.

import { redactError } from "./redact.js";

export class TemplateJobsError extends Error {
  constructor({ message, cause, text, ...members }) {
    super(message, cause === undefined ? undefined : { cause });
    if (members.name === "ApiError") {
      members.body ??= text;
      const { body } = members;
      members.fields = body && typeof body === "object" && !Array.isArray(body) && !body.detail ? body : {};
    }
    // Defined, and not assigned: `Error.prototype` may be frozen.
    for (const [key, value] of Object.entries(members)) {
      Object.defineProperty(this, key, { value, enumerable: true, writable: true, configurable: true });
    }
  }
}

export const isTemplateJobsError = (error) => error instanceof TemplateJobsError || !!error?.[brand];

// Two copies of this package on one page know each other's errors.
const brand = Symbol.for("custom-template-jobs.error");
Object.defineProperty(TemplateJobsError.prototype, brand, { value: true });

// An error of the facade.
export const problem = (name, message, more) => new TemplateJobsError({ name, message, ...more });

// Runs a check that throws `{ field, message }`.
export function checked(secrets, check, ...given) {
  try {
    return check(...given);
  } catch ({ field, message, cause }) {
    if (cause !== undefined) cause = redactError(cause, secrets);
    throw problem("InvalidRequestError", message, { field, cause });
  }
}
