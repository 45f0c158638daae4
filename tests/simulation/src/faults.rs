//! The kinds of faults and their probabilities. Each seed draws which kinds occur and how often, so that rare
//! combinations of two faults are not drowned by frequent ones.

use sandbox::random::Random;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Fault {
    /// The connection is refused, which proves that nothing was sent.
    NotSent,
    /// The `headers` function throws, so the request is never made.
    Unusable,
    /// The `headers` function is slow, or never returns.
    SlowHeaders,
    /// The connection breaks before the server commits the request. The error has no code that proves it.
    LostBefore,
    /// The connection breaks after the server has committed the request.
    LostAfter,
    /// The request arrives and is committed after the client has given up.
    LateCommit,
    /// The answer is late; it may come after the timeout.
    Delay,
    /// The headers arrive, the body never does.
    Stall,
    /// The body is cut off.
    Truncate,
    /// A captive portal answers with an HTML page and status 200. The request may have been committed.
    Html,
    /// A redirect. The request may have been committed.
    Redirect,
    /// A 4xx or 5xx; the request was not committed.
    StatusBefore,
    /// A 408, 409, 425 or 5xx; the request was committed.
    StatusAfter,
    /// A 429 with any kind of `Retry-After`; the request was not committed.
    TooMany,
    /// The body is that of another job, as from a faulty cache, proxy or mock.
    Crossed,
    /// The transport sends a POST twice.
    Replay,
    /// A job never ends.
    Stuck,
    /// A job status that is not documented.
    UnknownStatus,
    /// A job fails.
    FailJob,
    /// A job is rejected.
    RejectJob,
    /// The journal is slow.
    JournalSlow,
    /// A journal call fails and had no effect.
    JournalFails,
    /// A journal call fails although it took effect.
    JournalFailsAfter,
    /// A journal call returns only after its timeout. It may take effect early or late.
    JournalHangs,
    /// The system clock is set.
    ClockJump,
    /// The machine sleeps.
    Sleep,
    /// The machine is offline for a while.
    Offline,
    /// The page is hidden for a while.
    Hidden,
    /// A tab crashes and is reloaded.
    Crash,
    /// A caller aborts.
    Leave,
    /// A caller passes a short timeout.
    ShortTime,
    /// The same operation is called again, in this tab or another.
    Again,
    /// A different request is sent under an operation id that is taken.
    Conflict,
    /// A user discards an operation whose outcome is unknown; it may have been charged.
    Discard,
    /// A webhook is not delivered.
    WebhookLost,
    /// A forged webhook names another job.
    WebhookForged,
    /// `listJobs` omits the newest jobs, or fails.
    ListFails,
}

/// Name and probability of each kind, in the order of the enum: per opportunity, in a seed of average intensity.
pub const FAULTS: [(&str, f64); 37] = [
    ("not sent", 0.04),
    ("unusable headers", 0.01),
    ("slow headers", 0.02),
    ("lost before commit", 0.04),
    ("lost after commit", 0.05),
    ("late commit", 0.04),
    ("delay", 0.05),
    ("stall", 0.03),
    ("truncated", 0.05),
    ("html", 0.03),
    ("redirect", 0.03),
    ("status before commit", 0.06),
    ("status after commit", 0.05),
    ("429", 0.04),
    ("crossed answer", 0.02),
    ("replay by the transport", 0.02),
    ("stuck job", 0.03),
    ("unknown status", 0.03),
    ("failed job", 0.08),
    ("rejected job", 0.04),
    ("slow journal", 0.2),
    ("journal fails", 0.02),
    ("journal fails after it wrote", 0.02),
    ("journal hangs", 0.005),
    ("clock jump", 0.02),
    ("sleep", 0.01),
    ("offline", 0.02),
    ("hidden", 0.02),
    ("crash", 0.03),
    ("caller leaves", 0.1),
    ("caller's time is short", 0.1),
    ("clicked again", 0.3),
    ("id of another request", 0.03),
    ("discarded", 0.3),
    ("webhook lost", 0.2),
    ("webhook forged", 0.1),
    ("list fails", 0.2),
];

/// How many kinds there are.
pub const KINDS: usize = FAULTS.len();

/// The faults of one seed.
#[derive(Debug)]
pub struct Faults {
    chances: [f64; KINDS],
    /// How often each kind occurred.
    pub struck: [u64; KINDS],
    /// Whether faults have been stopped.
    pub calm: bool,
}

impl Faults {
    /// Draws which kinds occur, and how often.
    pub fn draw(random: &mut Random) -> Self {
        let heat = random.between(0.2, 2.5);
        let mut chances = [0.0; KINDS];
        for (chance, (_, usual)) in chances.iter_mut().zip(FAULTS) {
            if random.fraction() < 0.6 {
                *chance = usual * heat;
            }
        }
        Self { chances, struck: [0; KINDS], calm: false }
    }

    /// Whether a fault occurs now.
    pub fn strikes(&mut self, fault: Fault, random: &mut Random) -> bool {
        let strikes = random.fraction() < self.chances[fault as usize] && !self.calm;
        self.struck[fault as usize] += u64::from(strikes);
        strikes
    }
}
