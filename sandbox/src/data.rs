//! Decides what outlives the process: the commands that changed the engine, kept in a file and replayed at the next start.
//!
//! The file is a redb database: one file that is whole after every kill, written in Rust alone, so that the sandbox still
//! needs no C compiler (`SQLite` would). A thread of its own commits, many commands at once where many wait; no answer and no
//! webhook leaves before all that it rests on is committed. Keys are never written.

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

/// The form of the file. It grows with every change that an older sandbox could not read.
const FORMAT: u64 = 1;

const ABOUT: TableDefinition<'_, &str, &str> = TableDefinition::new("about");
const COMMANDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("commands");

/// Which keys a request had; the keys themselves are not written.
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
        /// The body, where it is UTF-8.
        body: Option<String>,
        /// The body, where it is not.
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

/// One line of the file: a command, the clock's time and what was answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    now: u64,
    answer: u64,
    command: Recorded,
}

/// A command that may have to be kept, as it was before the engine took it.
#[derive(Debug)]
pub struct Draft(Recorded);

impl Draft {
    /// Nothing for a command that changes nothing.
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
    /// All that was before is forgotten.
    Begin(Vec<u8>),
}

/// The file, written by a thread of its own.
#[derive(Debug)]
pub struct Store {
    queue: Sender<Write>,
    appended: AtomicU64,
    committed: watch::Receiver<u64>,
}

/// What a file held.
#[derive(Debug)]
pub struct Restored {
    /// Where what follows is written.
    pub store: Store,
    /// The engine as it was.
    pub engine: Engine,
    /// The clock's time of the last command; the clock does not go on before it.
    pub now: u64,
}

impl Store {
    /// Opens or makes the file. The error says what is wrong with it and what to do.
    pub fn open(path: &Path, config: &Config) -> Result<Restored, String> {
        let told = |words: String| format!("--data {}: {words}", path.display());
        if !path.exists() {
            create(path, config).map_err(|error| told(format!("it could not be made: {error}")))?;
        }
        let database = open(path).map_err(told)?;
        let entries = read(&database, config).map_err(told)?;
        let mut engine = Engine::new(config.clone());
        let mut now = 0;
        let mut next = 0;
        for (place, entry) in entries {
            // What it asked of the outside was done, or is asked again by what is still due.
            let (reply, _effects) = engine.handle(entry.now, entry.command.command(config));
            if answer_of(&reply) != entry.answer {
                return Err(told(format!(
                    "command {place} would be answered otherwise today: another version of the sandbox wrote it; {REMEDY}"
                )));
            }
            now = entry.now;
            next = place + 1;
        }
        let (queue, waiting) = channel();
        let (commit, committed) = watch::channel(0);
        let file = path.to_owned();
        std::thread::spawn(move || keep(&database, &file, next, &waiting, &commit));
        Ok(Restored { store: Self { queue, appended: AtomicU64::new(0), committed }, engine, now })
    }

    /// Has a command written that the engine answered so. The caller holds the engine, so that the order is the engine's.
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
        // The writer ends only with the process.
        let _ = self.committed.clone().wait_for(|committed| *committed >= wanted).await;
    }
}

const REMEDY: &str = "name another file, or remove this one to start anew";

fn create(path: &Path, config: &Config) -> Result<(), redb::Error> {
    // A kill in the midst of this leaves no half-made file under the wanted name.
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
        return Err(format!("it is empty: it was cut short, or never a sandbox's; {REMEDY}"));
    }
    // redb answers most damage with an error, and some with a panic.
    let opened = quietly(|| Database::open(path));
    match opened {
        Some(Ok(database)) => Ok(database),
        Some(Err(redb::DatabaseError::DatabaseAlreadyOpen)) => Err("another sandbox has it open".to_owned()),
        Some(Err(error)) => Err(damaged(&error.to_string())),
        None => Err(damaged("its pages do not fit together")),
    }
}

fn damaged(why: &str) -> String {
    format!("it cannot be read: it is damaged, cut short or no file of a sandbox ({why}); {REMEDY}")
}

/// Runs what may panic, without a word on the terminal; nothing for a panic.
fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok();
    std::panic::set_hook(hook);
    result
}

/// The commands of a file that was made by a sandbox with the same settings.
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
        None => return Err(damaged("its pages do not fit together")),
    };
    match format.parse::<u64>() {
        Ok(FORMAT) => {}
        Ok(format) if format > FORMAT => {
            return Err(format!("a newer sandbox wrote it (form {format}; this one reads {FORMAT}); {REMEDY}"));
        }
        _ => return Err(damaged("it does not say its form")),
    }
    let written: Value = serde_json::from_str(&written).map_err(|error| damaged(&error.to_string()))?;
    for (flag, now) in settings(config).as_object().into_iter().flatten() {
        // A file that is older than a switch was made without it.
        let then = written.get(flag).unwrap_or(&Value::Bool(false));
        if then != now {
            let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let (then, now) = (word(then), word(now));
            return Err(format!("it was made with another {flag} ({then}, not {now}): start with the same, or {REMEDY}"));
        }
    }
    let mut entries = Vec::with_capacity(commands.len());
    for (place, bytes) in commands {
        let entry = serde_json::from_slice(&bytes).map_err(|error| damaged(&format!("command {place}: {error}")))?;
        entries.push((place, entry));
    }
    Ok(entries)
}

/// The flags on which a replay depends.
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

/// Writes what comes, as much as waits in one transaction.
fn keep(database: &Database, path: &Path, first: u64, waiting: &Receiver<Write>, commit: &watch::Sender<u64>) {
    let mut next = first;
    while let Ok(write) = waiting.recv() {
        let mut batch = vec![write];
        batch.extend(waiting.try_iter().take(1_000));
        let count = batch.len() as u64;
        if let Err(error) = write_all(database, batch, &mut next) {
            // What cannot be kept must not be answered.
            eprintln!("sandbox: --data {}: it cannot be written: {error}", path.display());
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
