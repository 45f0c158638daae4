// The errors that callers get.

import { fieldsOf } from "./platform.js";
import { redactError } from "./redact.js";

// Copies of this package know each other's errors by it, in every realm.
const brand = Symbol.for("custom-template-jobs.error");

// Name, charged and remedy of an error, in the words of this version.
const WORDS =
  /^(InvalidRequest|Api|Connection|ChargeUnknown|JobFailed|PollTimeout|IncompleteResult|BudgetExceeded|OperationConflict|Journal|Load|Closed)Error (no|yes|maybe) (fix_request|retry|wait|resume|settle_or_discard|new_operation|add_credits|none)$/;

// Defined, and not assigned: `Error.prototype` may be frozen.
const define = (error, members) => {
  for (const [key, value] of Object.entries(members)) {
    Object.defineProperty(error, key, { value, enumerable: true, writable: true, configurable: true });
  }
  return error;
};

export class TemplateJobsError extends Error {
  constructor({ message, cause, text, ...members }) {
    super(message, cause === undefined ? undefined : { cause });
    if (members.name === "ApiError") {
      members.body ??= text;
      members.fields = members.status < 400 ? {} : fieldsOf(members.body);
    }
    define(this, members);
  }

  static [Symbol.hasInstance](it) {
    if (this !== TemplateJobsError) return super[Symbol.hasInstance](it);
    try {
      return it?.[brand] === true;
    } catch {
      return false;
    }
  }

  static from(record) {
    if (record instanceof TemplateJobsError) return record;
    let read;
    let cause;
    try {
      read = JSON.parse(JSON.stringify(record));
      const { name, message, charged, remedy } = read;
      if ([name, message, charged, remedy].every((text) => typeof text === "string") && WORDS.test(`${name} ${charged} ${remedy}`)) {
        return new TemplateJobsError({ ...read, cause: read.cause && revived(read.cause) });
      }
    } catch (thrown) {
      cause = redactError(thrown, []);
    }
    throw problem("InvalidRequestError", "record must be what toJSON() of an error of this library returns", { field: "record", cause });
  }

  toJSON() {
    const { message, cause } = this;
    return { ...this, message, ...(cause !== undefined && { cause: told(redactError(cause, [])) }) };
  }
}
Object.defineProperty(TemplateJobsError.prototype, brand, { value: true });

export const isTemplateJobsError = (error) => error instanceof TemplateJobsError;

// A cause as a record, and back. Causes may be causes of themselves.
function told({ name, message, code, cause }, depth = 0) {
  return { name, message, ...(code !== undefined && { code }), ...(cause instanceof Error && depth < 5 && { cause: told(cause, depth + 1) }) };
}

const revived = ({ name, message, code, cause }) => {
  const error = new Error(message, cause && { cause: revived(cause) });
  Object.defineProperty(error, "name", { value: name, configurable: true, writable: true });
  return code === undefined ? error : define(error, { code });
};

// What helps where the facade itself makes the error, before the core is called.
const REMEDIES = { InvalidRequestError: "fix_request", ConnectionError: "retry", PollTimeoutError: "wait", LoadError: "retry", ClosedError: "none" };

// An error of the facade. Nothing was sent.
export const problem = (name, message, more) => new TemplateJobsError({ name, message, charged: "no", remedy: REMEDIES[name], ...more });

// The same error, about a charge: its own, as one that failed to load may be many calls'.
export const ofCharge = (error, about) =>
  about && error instanceof TemplateJobsError ? new TemplateJobsError({ ...error, message: error.message, cause: error.cause, ...about }) : error;

// Runs a check that throws `{ field, message }`.
export function checked(secrets, check, ...given) {
  try {
    return check(...given);
  } catch ({ field, message, cause }) {
    if (cause !== undefined) cause = redactError(cause, secrets);
    throw problem("InvalidRequestError", message, { field, cause });
  }
}
