// Many customers on one server, each with its own journal namespace and monthly limit.

import { TemplateJobs } from "custom-template-jobs";
import { fileJournal } from "custom-template-jobs/file-journal";

const journal = fileJournal("./jobs");

/** Clients are cheap: make one per request. */
export const clientOf = ({ id, credits }, shared) =>
  new TemplateJobs({ ...shared, journal, account: id, maxCredits: credits, budgetKey: "videos", budgetPeriod: "month" });
