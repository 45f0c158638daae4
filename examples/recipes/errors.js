// Error handling: the message, whether it was charged, and what to do next.

import { TemplateJobsError } from "custom-template-jobs";

export function handle(error, { show, later, again }) {
  if (!(error instanceof TemplateJobsError)) throw error;
  show(error.message, error.charged);
  if (error.charged !== "no" && error.remedy !== "new_operation") later(error.operation);
  else if (["retry", "wait", "new_operation"].includes(error.remedy)) again();
}
