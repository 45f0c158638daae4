// The faults of the list of 50 that are not one answer on the wire, each with the tests that cover it, or the reason why none does.
// A test is given by a part of its name; `matrix.test.mjs` checks that it exists.

const OPERATIONS = "tests/faults/operations.test.mjs";
const POLLING = "tests/host/tests/polling.rs";
const ENGINES = "tests/engines/charges.test.mjs";

export const ELSEWHERE = [
  { n: 2, fault: "nothing was sent, but no code proves it", tests: [["tests/faults/table.mjs", 'fault: "connection refused"']], note: "row 1 in workerd" },
  { n: 3, fault: "offline before the request", tests: [[OPERATIONS, "3_a_client_that_is_reported_offline_charges_once"], [ENGINES, "_offline_a_charge_is_sent"]] },
  { n: 24, fault: "committed after the client's timeout", tests: [[OPERATIONS, "24_a_charge_committed_after_the_timeout"]] },
  { n: 25, fault: "an answer twice, or another's", tests: [[OPERATIONS, "25_an_answer_received_twice"], [OPERATIONS, "25_an_answer_about_another_job"]] },
  { n: 26, fault: "the clock jumps", tests: [[OPERATIONS, "_by_a_day_with_each_request_ends_no_poll"], ["tests/simulation/tests/short.rs", "ten_thousand_operations_are_charged_at_most_once"]] },
  { n: 27, fault: "the list lags", tests: [[OPERATIONS, "27_28_a_list_that_lags_or_hides"]] },
  { n: 28, fault: "the list hides jobs", tests: [[OPERATIONS, "27_28_a_list_that_lags_or_hides"]] },
  { n: 29, fault: "rows twice, another order", tests: [[OPERATIONS, "29_a_list_with_duplicate_reordered_and_invalid_rows"]] },
  { n: 30, fault: "two jobs carry the token", tests: [[OPERATIONS, "30_an_operation_that_the_runtime_sent_twice"]], note: "bound to one of them; the design has no error for the other" },
  { n: 31, fault: "a status goes back", tests: [[OPERATIONS, "31_a_status_that_goes_back"]] },
  { n: 32, fault: "a job never ends", tests: [[OPERATIONS, "32_a_job_that_never_ends"]] },
  { n: 33, fault: "a job fails, with a reason or none", tests: [[OPERATIONS, "33_a_job_that_is_"]] },
  { n: 34, fault: "done, and no video", tests: [[OPERATIONS, "34_a_job_that_is_done_without_its_video"]] },
  { n: 35, fault: "a result's URL is not safe", tests: [["tests/demo/demo.test.mjs", "a URL that is not safe never reaches the page"]], note: "the client returns the job unchanged; the page checks the URL" },
  { n: 36, fault: "a result's URL has expired", note: "no test: the client loads no results, and `get` returns a fresh URL" },
  { n: 37, fault: "a webhook is lost", tests: [[OPERATIONS, "37_a_job_whose_webhooks_are_lost"]] },
  { n: 38, fault: "webhooks twice, out of order", tests: [[OPERATIONS, "38_webhooks_that_come_twice"]] },
  { n: 39, fault: "a webhook before the answer", tests: [[OPERATIONS, "39_a_webhook_that_comes_before_the_answer"]] },
  { n: 40, fault: "a webhook that is forged, unknown, or of 10 MB", tests: [[OPERATIONS, "40_a_webhook_of_an_unknown_operation"], [OPERATIONS, "40_a_forged_webhook_with_a_job_that_does_not_exist"], [OPERATIONS, "40_a_forged_webhook_with_the_job_of_another"], [OPERATIONS, "40_a_webhook_of_10_mb"]] },
  { n: 41, fault: "the tab is hidden, frozen, resumed", tests: [[POLLING, "a_hidden_page_polls_at_most_once_a_minute_and_at_once_when_shown"], [POLLING, "offline_is_polled_at_the_longest_interval"]] },
  { n: 42, fault: "the page comes back from the cache", tests: [[ENGINES, "_a_page_that_is_shown_again_polls_at_once"]], note: "there is no stream to close; it polls again" },
  { n: 43, fault: "a reload in the middle of a POST", tests: [[ENGINES, "_a_charge_interrupted_by_a_reload_is_unknown_and_never_sent_again"]] },
  { n: 44, fault: "two tabs, one operation", tests: [[ENGINES, "_two_tabs_with_one_operation_are_one_post_and_one_job"]] },
  { n: 45, fault: "a double click", tests: [[OPERATIONS, "45_a_double_click"], [OPERATIONS, "45_parallel_clients_with_one_operation"]] },
  { n: 46, fault: "the caller aborts before or after the request", tests: [[OPERATIONS, "46_an_abort_of_"], [ENGINES, "_an_abort_rejects_at_once_and_the_charge_is_bound"]] },
  { n: 47, fault: "no storage", tests: [[OPERATIONS, "with_a_journal_that_is_forbidden"], [OPERATIONS, "with_a_journal_that_is_full_after_the_charge"], [ENGINES, "_a_frame_without_storage_rejects_with_a_remedy"]] },
  { n: 48, fault: "the WebAssembly traps", tests: [["tests/node/settling.test.mjs", "a panic rejects every call, a charge as unknown, and so does every later call"]] },
  { n: 49, fault: "no retries are left", tests: [[OPERATIONS, "49_reads_in_an_outage"]] },
];
