//! A running sandbox: the engine with a real clock, and the effects that it carries out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, header};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::data::{Draft, Store};
use crate::engine::{Command, Config, Effect, Engine, Reply, Showing};
use crate::job::rfc3339;
use crate::pictures::Pictures;
use crate::storyboard::Storyboard;
use crate::video::Videos;
use crate::webhooks;

/// The settings of the server.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The engine's settings.
    pub engine: Config,
    /// Origins whose pages may call the API; `*` for all.
    pub cors: Vec<String>,
    /// Directories of pages; the first that has a file serves it.
    pub www: Vec<PathBuf>,
    /// Hosts that webhooks may go to, in addition to loopback addresses; `*` for all.
    pub allow_webhooks_to: Vec<String>,
    /// Host names that requests may use, in addition to those of this machine.
    pub allow_hosts: Vec<String>,
    /// The file that keeps jobs, credits and ledger across restarts.
    pub data: Option<PathBuf>,
    /// Whether the clock starts at 2026-01-01 and moves only by `POST /__sandbox/clock`.
    pub still_clock: bool,
    /// Whether videos are rendered before their first request.
    pub videos_ahead: bool,
}

/// The number of images that the log keeps.
const IMAGE_LOG_LIMIT: usize = 500;

/// The time of a still clock at the start: 2026-01-01T00:00:00Z.
const STILL: u64 = 1_767_225_600_000;

/// A running sandbox.
#[derive(Debug)]
pub struct App {
    engine: Mutex<Engine>,
    port: u16,
    /// The factor that divides every wait.
    pub speed: f64,
    /// The wall clock at the start, and the instant when it was read; `None` for a still clock.
    started: (u64, Option<Instant>),
    store: Option<Store>,
    /// The number of clock jumps. Waiting answers check the time again after each.
    jumps: watch::Sender<u64>,
    /// The number of resets. A reset cancels answers and webhooks that wait.
    resets: AtomicU64,
    /// Wakes the timer: something may be due earlier than before.
    hurry: Notify,
    /// The number of changes that the console may show.
    changed: watch::Sender<u64>,
    /// Origins whose pages may call the API.
    pub cors: Vec<String>,
    /// Directories of pages.
    pub www: Vec<PathBuf>,
    /// Rendered videos.
    pub videos: Videos,
    videos_ahead: bool,
    /// The cache of decoded images.
    pictures: Pictures,
    /// The log of fetched images, oldest first.
    pub images: Mutex<VecDeque<Value>>,
    /// The attempts to deliver each webhook, by its number.
    pub deliveries: Mutex<BTreeMap<u64, Vec<Value>>>,
    /// Hosts that webhooks may go to, in addition to loopback addresses; `*` for all.
    pub allow_webhooks_to: Vec<String>,
    /// Host names that requests may use, in addition to those of this machine.
    allow_hosts: Vec<String>,
    /// The latest delivery task of each job. The next delivery waits for it, so that the webhooks of a job stay in order.
    pub(crate) delivering: Mutex<HashMap<Uuid, tokio::task::JoinHandle<()>>>,
}

impl App {
    /// Restores the state from the file of `--data`, if there is one.
    ///
    /// # Errors
    /// If that file cannot be used; the text names the reason.
    pub fn new(options: Options, port: u16) -> Result<Arc<Self>, String> {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let wall = if options.still_clock { STILL } else { wall };
        let (speed, lenient) = (options.engine.speed, options.engine.lenient_urls);
        let (engine, store, last) = match &options.data {
            None => (Engine::new(options.engine), None, 0),
            Some(path) => {
                let restored = Store::open(path, &options.engine)?;
                (restored.engine, Some(restored.store), restored.now)
            }
        };
        Ok(Arc::new(Self {
            speed,
            engine: Mutex::new(engine),
            store,
            port,
            started: (wall.max(last), (!options.still_clock).then(Instant::now)),
            jumps: watch::Sender::new(0),
            resets: AtomicU64::new(0),
            hurry: Notify::new(),
            changed: watch::Sender::new(0),
            cors: options.cors,
            www: options.www,
            videos: Videos::default(),
            videos_ahead: options.videos_ahead,
            pictures: Pictures::new(lenient),
            images: Mutex::default(),
            deliveries: Mutex::default(),
            allow_webhooks_to: options.allow_webhooks_to,
            allow_hosts: options.allow_hosts,
            delivering: Mutex::default(),
        }))
    }

    /// The server's clock, in milliseconds since the epoch; it never goes back.
    pub fn now(&self) -> u64 {
        self.started.0 + self.started.1.map_or(0, |start| start.elapsed().as_millis() as u64)
    }

    /// The locked engine. Do not hold it across an await.
    pub fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of resets so far, for [`App::wait_until`].
    pub fn generation(&self) -> u64 {
        self.resets.load(Ordering::SeqCst)
    }

    /// Waits for a moment of the engine's time. A jump of the clock can end the wait at once. Returns false if the sandbox
    /// was reset since `generation`.
    pub async fn wait_until(&self, moment: u64, generation: u64) -> bool {
        let mut jumps = self.jumps.subscribe();
        loop {
            if self.generation() != generation {
                return false;
            }
            let now = self.engine().time(self.now());
            if now >= moment {
                return true;
            }
            tokio::select! {
                () = tokio::time::sleep(self.nap(moment - now)) => {}
                _ = jumps.changed() => {}
            }
        }
    }

    /// The time to sleep before the clock is read again, when `ms` milliseconds of the engine's time are left. On a still
    /// clock only a jump ends a wait.
    fn nap(&self, ms: u64) -> Duration {
        const LONG: u64 = 3_600_000;
        Duration::from_millis(if self.started.1.is_some() { ms.min(LONG) } else { LONG })
    }

    /// Waits until every command so far is committed to the file of `--data`.
    pub async fn committed(&self) {
        if let Some(store) = &self.store {
            store.committed().await;
        }
    }

    fn command(&self, command: Command) -> (Reply, Vec<Effect>) {
        let mut engine = self.engine();
        let now = self.now();
        let Some(store) = &self.store else { return engine.handle(now, command) };
        let reads = matches!(command, Command::Request(_)) && !engine.has_faults();
        let draft = Draft::of(&command, engine.config());
        let charges = engine.ledger().charges().len();
        let (reply, effects) = engine.handle(now, command);
        if let Some(draft) = draft
            && !(reads && engine.ledger().charges().len() == charges)
        {
            store.append(now, draft, &reply);
        }
        (reply, effects)
    }

    /// Passes a command to the engine and carries out its effects.
    pub fn handle(self: &Arc<Self>, command: Command) -> Reply {
        let (jump, reset) = match command {
            Command::Advance { .. } => (true, false),
            Command::Reset { .. } => (true, true),
            _ => (false, false),
        };
        let (reply, effects) = self.command(command);
        if reset {
            self.resets.fetch_add(1, Ordering::SeqCst);
            self.videos.clear();
            self.pictures.clear();
        }
        if jump {
            self.jumps.send_modify(|jumps| *jumps += 1);
        }
        for effect in effects {
            match effect {
                Effect::Webhook { url, body, job, number, .. } => webhooks::send(self, url, &body, job, number),
                Effect::PrepareVideo { .. } if !self.videos_ahead => {}
                Effect::PrepareVideo { token } => {
                    let showing = self.engine().video(self.now(), token).map(|(showing, _)| showing);
                    if let Some(showing) = showing {
                        self.videos.prepare(token, self.board(showing));
                    }
                }
            }
        }
        self.hurry.notify_one();
        self.change();
        reply
    }

    /// Notifies the console of a change.
    pub fn change(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// Receives a notification for each change that the console may show.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether the clock moves only by `POST /__sandbox/clock`.
    pub fn stands_still(&self) -> bool {
        self.started.1.is_none()
    }

    /// The storyboard of a page or a video, with its images fetched.
    pub fn board(self: &Arc<Self>, showing: Showing) -> impl Future<Output = Storyboard> + Send + use<> {
        let app = Arc::clone(self);
        async move {
            let mut board = Storyboard::new(&showing);
            let mut tasks = JoinSet::new();
            for (place, card) in board.cards.iter().enumerate().filter(|(_, card)| card.kind == "image") {
                let Some(url) = card.url.clone() else { continue };
                let (app, label, job) = (Arc::clone(&app), card.label.clone(), showing.job);
                tasks.spawn(async move {
                    let (outcome, fetched) = app.pictures.get(&url).await;
                    if fetched {
                        app.note_image(job, &label, &url, outcome.as_ref().err());
                    }
                    (place, outcome)
                });
            }
            while let Some(fetched) = tasks.join_next().await {
                if let Ok((place, outcome)) = fetched
                    && let Some(card) = board.cards.get_mut(place)
                {
                    card.picture = Some(outcome);
                }
            }
            board
        }
    }

    /// Logs whether an image was drawn. A failure is also printed on standard error.
    fn note_image(&self, job: Option<Uuid>, label: &str, url: &str, why: Option<&String>) {
        let short: String = url.chars().take(200).collect();
        if let Some(why) = why {
            eprintln!("sandbox: the image \"{label}\" at {} is not drawn: {why}", short.escape_debug());
        }
        let now = self.engine().time(self.now());
        let job = job.map(|id| id.to_string());
        let answer = why.map_or("drawn", String::as_str);
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        if images.len() == IMAGE_LOG_LIMIT {
            images.pop_front();
        }
        images.push_back(json!({"at": rfc3339(now, 0), "job_id": job, "label": label, "url": short, "answer": answer}));
        drop(images);
        self.change();
    }

    /// Whether a request may name this host: a loopback name or address, or a name of `--allow-host`. Any port is allowed,
    /// because the request may come through a forwarded port.
    pub fn allows_host(&self, host: &str) -> bool {
        let Ok(host) = host.parse::<Authority>() else { return false };
        let name = host.host().to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        !host.as_str().contains('@')
            && (name == "localhost"
                || name.ends_with(".localhost")
                || address.is_ok_and(|address| address.is_loopback())
                || self.allow_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(&name)))
    }

    /// The origin of URLs in an answer, made from the `Host` header of the request.
    pub fn origin(&self, headers: &HeaderMap) -> String {
        match header(headers, header::HOST) {
            Some(host) => format!("http://{host}"),
            None => format!("http://127.0.0.1:{}", self.port),
        }
    }

    /// Whether the request comes from a page of this server or from a program outside a browser.
    pub fn is_own_page(&self, headers: &HeaderMap) -> bool {
        let own_origin = match headers.get(header::ORIGIN) {
            None => true,
            Some(origin) => origin.to_str().is_ok_and(|origin| {
                origin.strip_prefix("http://").is_some_and(|host| Some(host) == header(headers, header::HOST))
            }),
        };
        let own_site = headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none");
        own_origin && own_site
    }
}

/// The value of a header; `None` if it is missing or not text.
pub fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Sends a `Tick` to the engine whenever an effect is due.
pub async fn run_timer(app: Arc<App>) {
    loop {
        let wait = {
            let engine = app.engine();
            let now = engine.time(app.now());
            engine.next_due().map(|due| due.saturating_sub(now)).map(|ms| if ms == 0 { Duration::ZERO } else { app.nap(ms) })
        };
        match wait {
            None => app.hurry.notified().await,
            Some(wait) => {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {
                        app.handle(Command::Tick);
                    }
                    () = app.hurry.notified() => {}
                }
            }
        }
    }
}
