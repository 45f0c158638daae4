//! The file of `--data`: a log of the commands that changed the engine, replayed at the next start.
//!
//! The file is a redb database, which stays consistent when the process is killed. redb is pure Rust, so the sandbox needs
//! no C compiler; `SQLite` would. A separate thread commits queued commands in batches. Answers and webhooks are sent only
//! after the commands they depend on are committed. Keys are never written.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::engine::{Command, Config, Engine, Reply, Request};
use crate::faults::Rule;
use crate::random::fingerprint;

/// The version of the file format. It increases with each change that an older sandbox could not read.
const FORMAT: u64 = 1;

const ABOUT: TableDefinition<'_, &str, &str> = TableDefinition::new("about");
const COMMANDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("commands");

/// Whether the keys of a request were right. The keys themselves are not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Keys {
    None,
    Wrong,
    Right,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Recorded {
    Request {
        method: String,
        path: String,
        content_type: Option<String>,
        keys: Keys,
        idempotency_key: Option<String>,
        /// The body, if it is UTF-8.
        body: Option<String>,
        /// The body, if it is not UTF-8.
        bytes: Option<Vec<u8>>,
        origin: String,
        connection: u64,
        relayed: bool,
    },
    Advance {
        ms: u64,
    },
    SetFaults {
        rules: Vec<Rule>,
    },
    Reset {
        seed: Option<u64>,
        credits: Option<f64>,
    },
}

/// One record of the file: a command, its time, and a fingerprint of its reply.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    now: u64,
    answer: u64,
    command: Recorded,
}

/// A command to write, captured before the engine consumes it.
#[derive(Debug)]
pub struct Draft(Recorded);

impl Draft {
    /// Captures a command; `None` if it changes nothing.
    pub fn of(command: &Command, config: &Config) -> Option<Self> {
        Some(Self(match command {
            Command::Tick => return None,
            Command::Advance { ms } => Recorded::Advance { ms: *ms },
            Command::SetFaults(rules) => Recorded::SetFaults { rules: rules.clone() },
            Command::Reset { seed, credits } => Recorded::Reset { seed: *seed, credits: *credits },
            Command::Request(request) => {
                let text = std::str::from_utf8(&request.body).ok().map(str::to_owned);
                Recorded::Request {
                    method: request.method.clone(),
                    path: request.path.clone(),
                    content_type: request.content_type.clone(),
                    keys: match (&request.api_id, &request.api_key) {
                        (Some(id), Some(key)) if *id == config.api_id && *key == config.api_key => Keys::Right,
                        (Some(_), Some(_)) => Keys::Wrong,
                        _ => Keys::None,
                    },
                    idempotency_key: request.idempotency_key.clone(),
                    bytes: text.is_none().then(|| request.body.clone()),
                    body: text,
                    origin: request.origin.clone(),
                    connection: request.connection,
                    relayed: request.relayed,
                }
            }
        }))
    }
}

impl Recorded {
    fn command(self, config: &Config) -> Command {
        match self {
            Self::Advance { ms } => Command::Advance { ms },
            Self::SetFaults { rules } => Command::SetFaults(rules),
            Self::Reset { seed, credits } => Command::Reset { seed, credits },
            Self::Request {
                method,
                path,
                content_type,
                keys,
                idempotency_key,
                body,
                bytes,
                origin,
                connection,
                relayed,
            } => {
                let (api_id, api_key) = match keys {
                    Keys::None => (None, None),
                    Keys::Wrong => (Some(String::new()), Some(String::new().into())),
                    Keys::Right => (Some(config.api_id.clone()), Some(config.api_key.clone())),
                };
                Command::Request(Request {
                    method,
                    path,
                    content_type,
                    api_id,
                    api_key,
                    idempotency_key,
                    body: bytes.or(body.map(String::into_bytes)).unwrap_or_default(),
                    origin,
                    connection,
                    relayed,
                })
            }
        }
    }
}

fn answer_of(reply: &Reply) -> u64 {
    fingerprint(&reply.body) ^ u64::from(reply.status)
}

enum Write {
    Add(Vec<u8>),
    /// Deletes all earlier records first.
    Begin(Vec<u8>),
}

/// A handle to the thread that writes the file.
#[derive(Debug)]
pub struct Store {
    queue: Sender<Write>,
    appended: AtomicU64,
    committed: watch::Receiver<u64>,
}

/// The state restored from a file.
#[derive(Debug)]
pub struct Restored {
    /// The store for further commands.
    pub store: Store,
    /// The restored engine.
    pub engine: Engine,
    /// The time of the last command. The clock starts no earlier.
    pub now: u64,
}

impl Store {
    /// Opens or creates the file, and replays its commands.
    ///
    /// # Errors
    /// If the file cannot be used; the text names the reason and the remedy.
    pub fn open(path: &Path, config: &Config) -> Result<Restored, String> {
        let with_path = |reason: String| format!("--data {}: {reason}", path.display());
        if !path.exists() {
            create(path, config).map_err(|error| with_path(format!("the file could not be created: {error}")))?;
        }
        let database = open(path).map_err(with_path)?;
        let entries = read(&database, config).map_err(with_path)?;
        let mut engine = Engine::new(config.clone());
        let mut now = 0;
        let mut next = 0;
        for (place, entry) in entries {
            // Effects of the past were carried out before; those still due come out again later.
            let (reply, _effects) = engine.handle(entry.now, entry.command.command(config));
            if answer_of(&reply) != entry.answer {
                return Err(with_path(format!(
                    "the replay of command {place} gives another answer: another version of the sandbox wrote the file; {REMEDY}"
                )));
            }
            now = entry.now;
            next = place + 1;
        }
        let (queue, waiting) = channel();
        let (commit, committed) = watch::channel(0);
        let file = path.to_owned();
        std::thread::spawn(move || write_queue(&database, &file, next, &waiting, &commit));
        Ok(Restored { store: Self { queue, appended: AtomicU64::new(0), committed }, engine, now })
    }

    /// Queues a command and its reply for writing. The caller holds the engine's lock, so that the order is the engine's.
    pub fn append(&self, now: u64, draft: Draft, reply: &Reply) {
        let begins = matches!(draft.0, Recorded::Reset { .. });
        let entry = Entry { now, answer: answer_of(reply), command: draft.0 };
        let bytes = serde_json::to_vec(&entry).unwrap_or_default();
        let sent = self.queue.send(if begins { Write::Begin(bytes) } else { Write::Add(bytes) });
        if sent.is_ok() {
            self.appended.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Waits until all that was appended so far is committed.
    pub async fn committed(&self) {
        let wanted = self.appended.load(Ordering::SeqCst);
        // The writing thread runs until the process ends.
        let _ = self.committed.clone().wait_for(|committed| *committed >= wanted).await;
    }
}

const REMEDY: &str = "use another file, or remove this one to start from scratch";

fn create(path: &Path, config: &Config) -> Result<(), redb::Error> {
    // The rename at the end keeps a kill from leaving an incomplete file under the final name.
    let unfinished = PathBuf::from(format!("{}.new", path.display()));
    let _ = std::fs::remove_file(&unfinished);
    let database = Database::create(&unfinished)?;
    let transaction = database.begin_write()?;
    {
        let mut about = transaction.open_table(ABOUT)?;
        about.insert("format", FORMAT.to_string().as_str())?;
        about.insert("settings", settings(config).to_string().as_str())?;
        transaction.open_table(COMMANDS)?;
    }
    transaction.commit()?;
    drop(database);
    std::fs::rename(&unfinished, path)?;
    Ok(())
}

fn open(path: &Path) -> Result<Database, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size == 0 {
        return Err(format!("the file is empty: it was cut short, or is not a sandbox file; {REMEDY}"));
    }
    // redb reports most damage as an error, and some by a panic.
    let opened = quietly(|| Database::open(path));
    match opened {
        Some(Ok(database)) => Ok(database),
        Some(Err(redb::DatabaseError::DatabaseAlreadyOpen)) => Err("another sandbox has the file open".to_owned()),
        Some(Err(error)) => Err(damaged(&error.to_string())),
        None => Err(damaged("its pages are inconsistent")),
    }
}

fn damaged(why: &str) -> String {
    format!("the file cannot be read: it is damaged, cut short or not a sandbox file ({why}); {REMEDY}")
}

/// Runs a function that may panic, without printing the panic; `None` after a panic.
fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok();
    std::panic::set_hook(hook);
    result
}

/// Reads the commands. The file must have been created with the same settings.
fn read(database: &Database, config: &Config) -> Result<Vec<(u64, Entry)>, String> {
    let contents = quietly(|| -> Result<_, redb::Error> {
        let transaction = database.begin_read()?;
        let about = transaction.open_table(ABOUT)?;
        let text = |name: &str| -> Result<String, redb::Error> {
            Ok(about.get(name)?.map(|value| value.value().to_owned()).unwrap_or_default())
        };
        let (format, settings) = (text("format")?, text("settings")?);
        let mut commands = Vec::new();
        for line in transaction.open_table(COMMANDS)?.iter()? {
            let (place, bytes) = line?;
            commands.push((place.value(), bytes.value().to_vec()));
        }
        Ok((format, settings, commands))
    });
    let (format, written, commands) = match contents {
        Some(Ok(contents)) => contents,
        Some(Err(error)) => return Err(damaged(&error.to_string())),
        None => return Err(damaged("its pages are inconsistent")),
    };
    match format.parse::<u64>() {
        Ok(FORMAT) => {}
        Ok(format) if format > FORMAT => {
            return Err(format!("a newer sandbox wrote the file (format {format}; this one reads {FORMAT}); {REMEDY}"));
        }
        _ => return Err(damaged("its format is missing")),
    }
    let written: Value = serde_json::from_str(&written).map_err(|error| damaged(&error.to_string()))?;
    for (flag, now) in settings(config).as_object().into_iter().flatten() {
        // A file that is older than a switch was created without it.
        let then = written.get(flag).unwrap_or(&Value::Bool(false));
        if then != now {
            let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let (then, now) = (word(then), word(now));
            return Err(format!(
                "the file was created with another {flag} ({then}, not {now}): use the same value, or {REMEDY}"
            ));
        }
    }
    let mut entries = Vec::with_capacity(commands.len());
    for (place, bytes) in commands {
        let entry = serde_json::from_slice(&bytes).map_err(|error| damaged(&format!("command {place}: {error}")))?;
        entries.push((place, entry));
    }
    Ok(entries)
}

/// The flags that a replay depends on.
fn settings(config: &Config) -> Value {
    let templates: Vec<Value> = config.templates.iter().map(|template| template.detail("")).collect();
    json!({
        "--seed": config.seed,
        "--speed": config.speed.to_string(),
        "--credits": config.credits.to_string(),
        "--prices": format!("{:?}", config.prices),
        "--editor-access": config.editor_access,
        "--honour-idempotency-key": config.honour_idempotency_key,
        "--lenient-urls": config.lenient_urls,
        "--templates": format!("{:016x}", fingerprint(Value::from(templates).to_string().as_bytes())),
    })
}

/// Commits queued commands, as many as are waiting in one transaction.
fn write_queue(database: &Database, path: &Path, first: u64, waiting: &Receiver<Write>, commit: &watch::Sender<u64>) {
    let mut next = first;
    while let Ok(write) = waiting.recv() {
        let mut batch = vec![write];
        batch.extend(waiting.try_iter().take(1_000));
        let count = batch.len() as u64;
        if let Err(error) = write_all(database, batch, &mut next) {
            // No answer may be sent whose command is not committed.
            eprintln!("sandbox: --data {}: the file cannot be written: {error}", path.display());
            std::process::exit(1);
        }
        commit.send_modify(|committed| *committed += count);
    }
}

fn write_all(database: &Database, batch: Vec<Write>, next: &mut u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut commands = transaction.open_table(COMMANDS)?;
        for write in batch {
            let bytes = match write {
                Write::Add(bytes) => bytes,
                Write::Begin(bytes) => {
                    commands.retain(|_, _| false)?;
                    bytes
                }
            };
            commands.insert(*next, bytes.as_slice())?;
            *next += 1;
        }
    }
    transaction.commit()?;
    Ok(())
}
