// Many customers on one server: each has a journal namespace and a monthly limit of its own.

import { TemplateJobs } from "custom-template-jobs";
import { fileJournal } from "custom-template-jobs/file-journal";

const journal = fileJournal("./jobs");

/** A client costs nothing: make one for each request. */
export const clientOf = ({ id, credits }, shared) =>
  new TemplateJobs({ ...shared, journal, account: id, maxCredits: credits, budgetKey: "videos", budgetPeriod: "month" });
