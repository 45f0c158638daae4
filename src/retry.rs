//! The retries of reads: which failures are retried, and after how long. Nothing here charges.

/// The longest backoff, in milliseconds.
const CAP: f64 = 8_000.0;
/// The first backoff, in milliseconds.
const BASE: f64 = 500.0;
/// The range to which `Retry-After` is clamped, in milliseconds.
const ASKED: (f64, f64) = (1_000.0, 60_000.0);

/// Whether a read with this response status may be retried.
pub const fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// The value of `Retry-After`, clamped to 1 to 60 s, in milliseconds.
pub const fn clamp_retry_after(asked: f64) -> f64 {
    // `clamp` panics with its arguments in the message, and printing floats takes 7 KB.
    asked.max(ASKED.0).min(ASKED.1)
}

/// The wait before retry number `attempt` (from 0), in milliseconds: capped exponential backoff with full jitter, so that
/// clients that failed together do not return together. The server's `Retry-After`, `asked`, is added to it. `chance` is from
/// 0 to 1.
pub fn backoff(attempt: u32, chance: f64, asked: Option<f64>) -> f64 {
    asked.map_or(0.0, clamp_retry_after) + doubling(BASE, attempt, CAP) * chance
}

/// `start`, doubled `times` times, and at most `cap`.
pub fn doubling(start: f64, times: u32, cap: f64) -> f64 {
    let mut wait = start;
    for _ in 0..times.min(16) {
        wait *= 2.0;
    }
    wait.min(cap)
}

/// The retries of one client until reads succeed again.
const TOKENS: f64 = 10.0;
/// The tokens that a successful read returns.
const EARNED: f64 = 0.5;

/// A token bucket for retries, so that an outage during many reads does not become a retry storm.
#[derive(Clone, Copy, Debug)]
pub struct Tokens(f64);

impl Tokens {
    /// The full bucket.
    pub const ALL: Self = Self(TOKENS);

    /// Takes a token. Returns whether one was left.
    pub fn take(&mut self) -> bool {
        let left = self.0 >= 1.0;
        if left {
            self.0 -= 1.0;
        }
        left
    }

    /// Returns tokens after a successful read.
    pub fn earn(&mut self) {
        self.0 = (self.0 + EARNED).min(TOKENS);
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[expect(clippy::float_cmp, reason = "no arithmetic is between the expected value and the constant")]
mod tests {
    use super::*;

    #[test]
    fn a_wait_grows_to_its_cap_and_no_further() {
        for (attempt, ceiling) in [(0, 500.0), (1, 1_000.0), (2, 2_000.0), (4, 8_000.0), (40, 8_000.0), (u32::MAX, 8_000.0)]
        {
            assert_eq!(backoff(attempt, 1.0, None), ceiling, "attempt {attempt}");
            assert_eq!(backoff(attempt, 0.0, None), 0.0, "full jitter");
        }
    }

    #[test]
    fn what_the_server_asks_for_is_a_floor_within_reason() {
        for (asked, floor) in [
            (0.0, 1_000.0),
            (-5_000.0, 1_000.0),
            (7_000.0, 7_000.0),
            (31_536_000_000.0, 60_000.0),
            (f64::INFINITY, 60_000.0),
        ] {
            assert_eq!(backoff(0, 0.0, Some(asked)), floor, "{asked}");
        }
    }

    #[test]
    fn a_refusal_is_not_tried_again() {
        for status in [200, 301, 400, 401, 402, 403, 404, 405, 409, 413, 422] {
            assert!(!is_transient(status), "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504, 520] {
            assert!(is_transient(status), "{status}");
        }
    }

    #[test]
    fn the_jitter_comes_on_top_of_what_the_server_asks_for() {
        assert_eq!(backoff(0, 1.0, Some(7_000.0)), 7_500.0);
        assert_eq!(backoff(2, 0.5, Some(0.0)), 2_000.0);
    }

    #[test]
    fn what_was_never_earned_is_never_tried() {
        let takes = |tokens: &mut Tokens| (0..100).filter(|_| tokens.take()).count();
        let mut tokens = Tokens::ALL;
        assert_eq!(takes(&mut tokens), 10, "all of them, once");
        tokens.earn();
        assert_eq!(takes(&mut tokens), 0, "one answer is half a try");
        tokens.earn();
        assert_eq!(takes(&mut tokens), 1);
        for _ in 0..100 {
            tokens.earn();
        }
        assert_eq!(takes(&mut tokens), 10, "and no more than all");
    }
}
