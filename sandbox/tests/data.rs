//! Tests of `--data`: state after restarts and kills, and files that are refused.

mod common;

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{JOBS, PREVIEW_ASYNC, Request, Sandbox};
use redb::{Database, ReadableTable as _, TableDefinition};
use sandbox::random::Random;
use serde_json::{Value, json};

/// A temporary directory, deleted at the end of the test.
struct TempDir(PathBuf);

impl TempDir {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("sandbox-data-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The error of a sandbox that does not start.
fn refusal(flags: &[&str]) -> String {
    match Sandbox::try_start(flags) {
        Ok(_) => panic!("it starts with {flags:?}"),
        Err(words) => words,
    }
}

#[test]
fn jobs_credits_ledger_clock_and_faults_survive_a_restart() {
    let directory = TempDir::new("restart");
    let file = directory.file("jobs.redb");
    let flags = ["--data", file.as_str(), "--still-clock"];
    let sandbox = Sandbox::start(&flags);
    let preview = sandbox.make(PREVIEW_ASYNC, "Product teaser");
    sandbox.advance(30.0);
    sandbox.post(&format!("{}render/", common::path_of(&preview)), &json!({}));
    sandbox.faults(&json!([{"on": "get", "kind": "status_before_commit", "times": 2}]));
    let status = |sandbox: &Sandbox| sandbox.get(&common::path_of(&preview)).status;
    assert_eq!(status(&sandbox), 503, "the fault applies once before the restart");
    sandbox.advance(2.0);
    let state = |sandbox: &Sandbox| ["ledger", "clock", "faults"].map(|name| sandbox.control("GET", name, &Value::Null));
    let jobs = |sandbox: &Sandbox| sandbox.control("GET", "jobs", &Value::Null).to_string();
    let (before, seen, host) = (state(&sandbox), jobs(&sandbox), sandbox.host());
    drop(sandbox);
    let again = Sandbox::start(&flags);
    assert_eq!(state(&again), before);
    assert_eq!(jobs(&again).replace(&again.host(), &host), seen);
    assert_eq!(status(&again), 503, "and once after it");
    again.advance(60.0);
    assert_eq!(again.read_job(&preview)["credits_used"], 5);
    again.control("POST", "reset", &json!({"credits": 7}));
    drop(again);
    let fresh = Sandbox::start(&flags);
    assert_eq!(fresh.get("/api/remaining_credits/").json(), json!({"remaining_credits": 7.0}));
    assert_eq!(fresh.control("GET", "jobs", &Value::Null), json!([]));
}

#[test]
fn no_key_is_in_the_file() {
    let directory = TempDir::new("keys");
    let file = directory.file("jobs.redb");
    let sandbox = Sandbox::start(&["--data", &file, "--key", "account-17:hush-hush"]);
    sandbox.faults(&json!([{"on": "get", "kind": "html", "after": 9}]));
    let request = |key: &str| Request::new("POST", JOBS).header("X-API-ID", "account-17").header("X-API-KEY", key);
    let body = sandbox.body("Product teaser");
    assert_eq!(sandbox.send(&request("hush-hush").json(&body)).status, 201);
    assert_eq!(sandbox.send(&request("hush-wrong").json(&body)).status, 401);
    drop(sandbox);
    let bytes = std::fs::read(&file).unwrap();
    let holds = |word: &str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
    assert!(holds("custom_template_jobs") && !holds("hush-") && !holds("account-17"));
    // The account stays the same under another key.
    assert_eq!(Sandbox::start(&["--data", &file]).charges(), 1);
}

#[test]
fn a_damaged_foreign_newer_or_open_file_is_refused_with_a_remedy() {
    let directory = TempDir::new("refused");
    let whole = directory.file("whole.redb");
    let sandbox = Sandbox::start(&["--data", &whole]);
    for _ in 0..8 {
        sandbox.make(PREVIEW_ASYNC, "Product teaser");
    }
    let words = refusal(&["--data", &whole]);
    assert!(words.contains("another sandbox has the file open"), "{words}");
    drop(sandbox);

    let bytes = std::fs::read(&whole).unwrap();
    let cut = directory.file("cut.redb");
    let mut cuts = vec![0, 1, 9, 100, 511, 4_096, 5_000, bytes.len() - 1];
    cuts.extend((1..32).map(|part| bytes.len() / 32 * part));
    let mut refused = 0;
    for length in &cuts {
        std::fs::write(&cut, &bytes[..*length]).unwrap();
        match Sandbox::try_start(&["--data", &cut]) {
            // The last pages of the file may be empty.
            Ok(sandbox) => assert_eq!(sandbox.charges(), 8, "{length} of {}", bytes.len()),
            Err(words) => {
                assert!(words.contains("cut short") && words.contains("remove this one"), "{length}: {words}");
                refused += 1;
            }
        }
    }
    assert!(refused + 2 >= cuts.len(), "{refused} of {} cuts are refused", cuts.len());
    let zeros = [&bytes[..10_000], &vec![0; bytes.len() - 10_000][..]].concat();
    for foreign in [b"[{\"no\": \"database\"}]".repeat(1_000), zeros] {
        std::fs::write(&cut, foreign).unwrap();
        let words = refusal(&["--data", &cut]);
        assert!(words.contains("damaged"), "{words}");
    }

    let words = refusal(&["--data", &whole, "--credits", "9"]);
    assert!(words.contains("another --credits (500, not 9)"), "{words}");
    let words = refusal(&["--data", "/nonexistent/place/file"]);
    assert!(words.contains("could not be created"), "{words}");
    set_about(&whole, "format", "2");
    let words = refusal(&["--data", &whole]);
    assert!(words.contains("newer sandbox wrote the file"), "{words}");
    set_about(&whole, "format", "1");
    assert_eq!(Sandbox::start(&["--data", &whole]).charges(), 8);
    let commands = TableDefinition::<u64, &[u8]>::new("commands");
    change(&whole, |transaction| {
        let mut table = transaction.open_table(commands).unwrap();
        let mut entry: Value = serde_json::from_slice(table.get(0).unwrap().unwrap().value()).unwrap();
        entry["answer"] = json!(1);
        table.insert(0, entry.to_string().as_bytes()).unwrap();
    });
    let words = refusal(&["--data", &whole]);
    assert!(words.contains("another version of the sandbox"), "{words}");
}

fn change(file: &str, work: impl FnOnce(&redb::WriteTransaction)) {
    let database = Database::open(file).unwrap();
    let transaction = database.begin_write().unwrap();
    work(&transaction);
    transaction.commit().unwrap();
}

fn set_about(file: &str, name: &str, value: &str) {
    let about = TableDefinition::<&str, &str>::new("about");
    change(file, |transaction| {
        transaction.open_table(about).unwrap().insert(name, value).unwrap();
    });
}

/// The requests that the clients have sent, with the answers that they received.
#[derive(Default)]
struct Sent {
    /// The name and the id of each job whose answer arrived.
    answered: HashMap<String, String>,
    /// The names of jobs that were sent and not answered.
    open: HashSet<String>,
}

/// Kills the sandbox ten times, or `SANDBOX_KILLS` times.
#[test]
fn a_sandbox_killed_under_load_neither_loses_nor_duplicates_a_charge() {
    let kills: u64 = std::env::var("SANDBOX_KILLS").map_or(10, |kills| kills.parse().unwrap());
    let seed = std::env::var("SANDBOX_SEED").map_or(7, |seed| seed.parse().unwrap());
    println!("SANDBOX_KILLS={kills} SANDBOX_SEED={seed}");
    let mut chance = Random::new(&[seed]);
    let directory = TempDir::new("kills");
    let file = directory.file("jobs.redb");
    let sent = Arc::new(Mutex::new(Sent::default()));
    let names = Arc::new(AtomicU64::new(0));
    let flags = ["--data", file.as_str(), "--credits", "1000000"];
    for _ in 0..kills {
        let sandbox = Sandbox::start(&flags);
        check(&sandbox, &sent.lock().unwrap());
        let body = sandbox.body("Product teaser");
        let over = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let (sent, names, over) = (Arc::clone(&sent), Arc::clone(&names), Arc::clone(&over));
                let (mut wire, mut body) = (sandbox.connect(), body.clone());
                std::thread::spawn(move || {
                    while !over.load(Ordering::SeqCst) {
                        let name = format!("n{}", names.fetch_add(1, Ordering::SeqCst));
                        body["name"] = json!(name);
                        sent.lock().unwrap().open.insert(name.clone());
                        let request = Request::new("POST", JOBS).keys().json(&body);
                        if wire.stream.write_all(&request.bytes(&wire.host)).is_err() {
                            return;
                        }
                        let Ok(answer) = wire.receive(false) else { return };
                        assert_eq!(answer.status, 201);
                        let id = answer.json()["id"].as_str().unwrap().to_owned();
                        let mut sent = sent.lock().unwrap();
                        sent.open.remove(&name);
                        sent.answered.insert(name, id);
                    }
                })
            })
            .collect();
        std::thread::sleep(Duration::from_micros(chance.next() % 80_000));
        // Dropping it sends SIGKILL, which closes the connections of the clients.
        drop(sandbox);
        over.store(true, Ordering::SeqCst);
        for client in clients {
            client.join().unwrap();
        }
    }
    let started = Instant::now();
    let sandbox = Sandbox::start(&flags);
    let took = started.elapsed();
    let sent = sent.lock().unwrap();
    check(&sandbox, &sent);
    let size = std::fs::metadata(Path::new(&file)).unwrap().len();
    println!(
        "{kills} kills, {} answered, {} cut off, {} charges; {size} bytes replayed in {took:?}",
        sent.answered.len(),
        sent.open.len(),
        sandbox.charges()
    );
    assert!(sent.answered.len() as u64 > kills, "too few requests were answered for a test under load");
}

fn check(sandbox: &Sandbox, sent: &Sent) {
    let jobs = sandbox.control("GET", "jobs", &Value::Null);
    let jobs: Vec<(String, String)> = jobs
        .as_array()
        .unwrap()
        .iter()
        .map(|job| (job["name"].as_str().unwrap().to_owned(), job["id"].as_str().unwrap().to_owned()))
        .collect();
    let by_name: HashMap<&str, &str> = jobs.iter().map(|(name, id)| (name.as_str(), id.as_str())).collect();
    assert_eq!(by_name.len(), jobs.len(), "a name appears twice");
    for (name, id) in &sent.answered {
        assert_eq!(by_name.get(name.as_str()), Some(&id.as_str()), "{name} was answered with {id}");
    }
    for name in by_name.keys() {
        assert!(sent.answered.contains_key(*name) || sent.open.contains(*name), "{name} was never sent");
    }
    let ledger = sandbox.control("GET", "ledger", &Value::Null);
    let charges = ledger["charges"].as_array().unwrap();
    let jobs_charged: HashSet<&str> = charges.iter().map(|charge| charge["job_id"].as_str().unwrap()).collect();
    assert_eq!((jobs_charged.len(), charges.len()), (jobs.len(), jobs.len()), "each job is charged once");
    let total = 1_000_000.0 - ledger["remaining"].as_f64().unwrap() + ledger["reserved"].as_f64().unwrap();
    assert!((total - 5.0 * jobs.len() as f64).abs() < 1e-6, "{total} credits for {} jobs", jobs.len());
}
