//! Decides how the sandbox is started: its flags.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use sandbox::app::{App, Options};
use sandbox::engine::Config;
use sandbox::prices::Prices;
use sandbox::prove;
use sandbox::server;
use sandbox::templates;

/// A local stand-in for Creatify's custom template jobs: no account, no network, no credits.
#[derive(Debug, Parser)]
#[command(name = "sandbox", version, args_conflicts_with_subcommands = true)]
#[allow(clippy::struct_excessive_bools, reason = "a flag is a bool")]
struct Flags {
    #[command(subcommand)]
    other: Option<Other>,
    /// The port on 127.0.0.1; 0 picks one
    #[arg(long, default_value_t = 8787)]
    port: u16,
    /// Divides every wait: 10 makes jobs ten times as fast
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Where all chance comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The account's credits
    #[arg(long, default_value_t = 500.0, value_parser = credits)]
    credits: f64,
    /// The values of X-API-ID and X-API-KEY
    #[arg(long, value_name = "ID:KEY", default_value = "sandbox:sandbox", value_parser = key)]
    key: (String, String),
    /// Your own templates, in place of the built-in ones
    #[arg(long, value_name = "FILE.json")]
    templates: Option<PathBuf>,
    /// An origin whose pages may call the API directly, or *; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    cors: Vec<String>,
    /// A file in which jobs, credits and ledger outlive the process; it is made where there is none
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Time stands still at 2026-01-01 and passes only by POST /__sandbox/clock: every run gives the same log
    #[arg(long)]
    still_clock: bool,
    /// A host that webhooks may go to beside loopback, or *; may be repeated
    #[arg(long, value_name = "HOST")]
    allow_webhooks_to: Vec<String>,
    /// A host name beside localhost and loopback addresses by which the sandbox may be called; may be repeated
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// A directory of pages to serve, with a relay for them; may be repeated, the first match wins
    #[arg(long, value_name = "DIR")]
    www: Vec<PathBuf>,
    /// Jobs have an editor URL, as accounts with editor access see it
    #[arg(long)]
    editor_access: bool,
    /// Which published price list applies
    #[arg(long, value_enum, default_value_t = Prices::Seed)]
    prices: Prices,
    /// A repeated Idempotency-Key is answered from memory; upstream is not known to do so
    #[arg(long)]
    honour_idempotency_key: bool,
    /// Images of this machine and data: URLs are taken, fetched and drawn; the provider could not fetch them
    #[arg(long)]
    lenient_urls: bool,
}

#[derive(Debug, Subcommand)]
enum Other {
    /// Run a client through every charging fault, and print how often it charges
    #[command(
        after_help = "The command is run 30 times, each time with a fresh sandbox. It is to make one charging call to SANDBOX_URL, \
with SANDBOX_API_ID, SANDBOX_API_KEY and SANDBOX_TEMPLATE_ID; where SANDBOX_WARM is set, one free call before, so that the charge \
goes over a connection that was used. The exit status is 1 where a command charged more than once."
    )]
    Prove {
        /// Seconds that one run may take
        #[arg(long, default_value_t = 60)]
        timeout: u64,
        /// The client and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "a number is wanted".to_owned())?;
    if (0.001..=1_000_000.0).contains(&speed) { Ok(speed) } else { Err("it must be from 0.001 to 1000000".to_owned()) }
}

fn credits(text: &str) -> Result<f64, String> {
    let credits: f64 = text.parse().map_err(|_| "a number is wanted".to_owned())?;
    if (0.0..=1e9).contains(&credits) { Ok(credits) } else { Err("it must be from 0 to 1000000000".to_owned()) }
}

fn key(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((id, key)) if !id.is_empty() && !key.is_empty() => Ok((id.to_owned(), key.to_owned())),
        _ => Err("write it as ID:KEY".to_owned()),
    }
}

fn options(flags: Flags) -> Result<Options, String> {
    let templates = match &flags.templates {
        None => templates::built_in(),
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|error| format!("--templates {}: {error}", file.display()))?;
            templates::from_json(&text).map_err(|error| format!("--templates {}: {error}", file.display()))?
        }
    };
    if let Some(missing) = flags.www.iter().find(|directory| !directory.is_dir()) {
        return Err(format!("--www {}: there is no such directory", missing.display()));
    }
    let (api_id, api_key) = flags.key;
    Ok(Options {
        engine: Config {
            seed: flags.seed,
            speed: flags.speed,
            credits: flags.credits,
            api_id,
            api_key: api_key.into(),
            templates,
            prices: flags.prices,
            editor_access: flags.editor_access,
            honour_idempotency_key: flags.honour_idempotency_key,
            lenient_urls: flags.lenient_urls,
        },
        cors: flags.cors.iter().map(|origin| origin.trim_end_matches('/').to_owned()).collect(),
        www: flags.www,
        allow_webhooks_to: flags.allow_webhooks_to,
        allow_hosts: flags.allow_host,
        data: flags.data,
        still_clock: flags.still_clock,
        videos_ahead: true,
    })
}

async fn run(flags: Flags) -> Result<(), String> {
    let port = flags.port;
    let options = options(flags)?;
    let listener = server::bind(port).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("port {port} is in use: stop what listens there, or choose another with --port (0 picks a free one)")
        }
        _ => format!("port {port} cannot be listened on: {error}"),
    })?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let app = App::new(options, address.port())?;
    println!("listening on http://{address}");
    std::io::stdout().flush().map_err(|error| error.to_string())?;
    tokio::select! {
        ended = server::serve(listener, app) => ended.map_err(|error| error.to_string()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("sandbox: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        match flags.other {
            None => run(flags).await,
            Some(Other::Prove { timeout, command }) => match prove::run(&command, Duration::from_secs(timeout)).await {
                Ok(true) => Ok(()),
                Ok(false) => Err("this client charges more than once".to_owned()),
                Err(error) => Err(error),
            },
        }
    });
    // A video that is being made keeps nobody waiting.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sandbox: {error}");
            ExitCode::FAILURE
        }
    }
}
