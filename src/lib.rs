//! Custom template video jobs.
