//! Replays when our client and its peers look at jobs, over the same simulated jobs, and checks what that must show.
//!
//! How jobs are drawn, and why so:
//! - Run times are log-normal about their median. Their sigma is 0.2, 0.5 or 0.8: 0.2 for one template, whose videos are
//!   all of one length (the sandbox's own jobs spread by a sixth); 0.5 as in the study of the peers; 0.8 towards the jobs
//!   of a whole service, whose calls taken together were seen to spread with 1.6 (J. Marshall 2011) and jobs of a
//!   computing centre still more (Downey 1997).
//! - Queues are log-normal too, with a sigma of 0.9: they depend on what others do.
//! - Of ten jobs one fails, half a second to five after it was begun.
//! - Memory is what `poll::learn` has made of the jobs before, so it is never quite right.
//!
//! A lag is the time from a job's end to the look that sees it; the network's time is left out, and so are all failures of
//! requests. `cargo xtask bench polling` runs the real clients over loopback to show that the replay is true.

pub mod claims;
pub mod grid;
pub mod jobs;
pub mod report;
pub mod rules;
pub mod side;
