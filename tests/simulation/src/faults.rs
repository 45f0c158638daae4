//! What goes wrong, and how often. Each seed draws which kinds it has and how hot it is, so that rare meetings of two
//! faults are not drowned by the others.

use sandbox::random::Random;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Fault {
    /// The runtime proves that nothing left.
    NotSent,
    /// The function for headers throws: the request is never made.
    Unusable,
    /// The function for headers takes its time, or for ever.
    SlowHeaders,
    /// The connection breaks before the request is carried out; no code tells.
    LostBefore,
    /// It breaks after.
    LostAfter,
    /// The request arrives after the client gave up, and is carried out then.
    LateCommit,
    /// The answer comes late, or too late.
    Delay,
    /// Headers, then silence.
    Stall,
    /// The body ends early.
    Truncate,
    /// A captive portal's page with status 200; carried out or not.
    Html,
    /// A redirect; carried out or not.
    Redirect,
    /// A 4xx or 5xx, and nothing was carried out.
    StatusBefore,
    /// A 408, 409, 425 or 5xx, and it was carried out.
    StatusAfter,
    /// 429 with every kind of `Retry-After`; nothing was carried out.
    TooMany,
    /// The body is that of another job: a cache, a proxy, or a mock.
    Crossed,
    /// The transport sends a POST twice.
    Replay,
    /// A job runs for ever.
    Stuck,
    /// A status that no document knows.
    UnknownStatus,
    /// A job fails.
    FailJob,
    /// A job is rejected.
    RejectJob,
    /// The journal takes its time.
    JournalSlow,
    /// It fails and did nothing.
    JournalFails,
    /// It fails and did it all the same.
    JournalFailsAfter,
    /// It answers when nobody waits any more, and may have done what was asked long before, or does it then.
    JournalHangs,
    /// Somebody sets the clock.
    ClockJump,
    /// The laptop sleeps.
    Sleep,
    /// The machine has no network for a while.
    Offline,
    /// The page is hidden for a while.
    Hidden,
    /// A tab crashes and starts anew.
    Crash,
    /// A caller leaves.
    Leave,
    /// A caller has little time.
    ShortTime,
    /// Somebody clicks again: the same operation, in this tab or the other.
    Again,
    /// Another request under an operation id that is taken.
    Conflict,
    /// Somebody discards an operation whose outcome is unknown, rightly or not.
    Discard,
    /// A webhook does not come.
    WebhookLost,
    /// Somebody makes up a webhook, with the id of another job.
    WebhookForged,
    /// The list lacks what is new, or fails.
    ListFails,
}

/// Name and chance of each, in the order of the enum. A chance is per opportunity, in a seed of middle heat.
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
    /// How often each struck.
    pub struck: [u64; KINDS],
    /// Nothing goes wrong any more.
    pub calm: bool,
}

impl Faults {
    /// Draws which kinds there are, and how often they strike.
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

    /// Whether a fault strikes now.
    pub fn strikes(&mut self, fault: Fault, random: &mut Random) -> bool {
        let strikes = random.fraction() < self.chances[fault as usize] && !self.calm;
        self.struck[fault as usize] += u64::from(strikes);
        strikes
    }
}
