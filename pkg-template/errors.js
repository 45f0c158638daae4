// The errors of the package.

import { fieldsOf } from "./platform.js";
import { redactError } from "./redact.js";

// Marks an error for other copies of this package, in every realm.
const brand = Symbol.for("custom-template-jobs.error");

// The names, `charged` values and remedies of this version.
const WORDS =
  /^(InvalidRequest|Api|Connection|ChargeUnknown|JobFailed|PollTimeout|IncompleteResult|BudgetExceeded|OperationConflict|Journal|Load|Closed)Error (no|yes|maybe) (fix_request|retry|wait|resume|settle_or_discard|new_operation|add_credits|none)$/;

// Defined instead of assigned, since `Error.prototype` may be frozen.
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

// Turns a cause into a record, and back. A cause may contain itself.
function told({ name, message, code, cause }, depth = 0) {
  return { name, message, ...(code !== undefined && { code }), ...(cause instanceof Error && depth < 5 && { cause: told(cause, depth + 1) }) };
}

const revived = ({ name, message, code, cause }) => {
  const error = new Error(message, cause && { cause: revived(cause) });
  Object.defineProperty(error, "name", { value: name, configurable: true, writable: true });
  return code === undefined ? error : define(error, { code });
};

// The remedies of errors that the facade itself makes.
const REMEDIES = { InvalidRequestError: "fix_request", ConnectionError: "retry", PollTimeoutError: "wait", LoadError: "retry", ClosedError: "none" };

// Makes an error of the facade. Nothing was sent.
export const problem = (name, message, more) => new TemplateJobsError({ name, message, charged: "no", remedy: REMEDIES[name], ...more });

// A copy of an error with the members of a charge. Several calls may share one `LoadError`.
export const ofCharge = (error, about) =>
  about && error instanceof TemplateJobsError ? new TemplateJobsError({ ...error, message: error.message, cause: error.cause, ...about }) : error;

// Runs a check that throws `{ field, message }`, and throws `InvalidRequestError` instead.
export function checked(secrets, check, ...given) {
  try {
    return check(...given);
  } catch ({ field, message, cause }) {
    if (cause !== undefined) cause = redactError(cause, secrets);
    throw problem("InvalidRequestError", message, { field, cause });
  }
}
