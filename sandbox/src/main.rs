//! The command line of the sandbox.

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
    /// Port on 127.0.0.1; 0 picks a free one
    #[arg(long, default_value_t = 8787)]
    port: u16,
    /// Factor that divides every wait: 10 makes jobs ten times as fast
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Credits of the account
    #[arg(long, default_value_t = 500.0, value_parser = credits)]
    credits: f64,
    /// Accepted values of X-API-ID and X-API-KEY
    #[arg(long, value_name = "ID:KEY", default_value = "sandbox:sandbox", value_parser = key)]
    key: (String, String),
    /// Your own templates, which replace the built-in ones
    #[arg(long, value_name = "FILE.json")]
    templates: Option<PathBuf>,
    /// Origin whose pages may call the API directly, or *; repeatable
    #[arg(long, value_name = "ORIGIN")]
    cors: Vec<String>,
    /// File that keeps jobs, credits and ledger across restarts; created if it does not exist
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Start the clock at 2026-01-01 and move it only by POST /__sandbox/clock, so that every run gives the same log
    #[arg(long)]
    still_clock: bool,
    /// Host that webhooks may go to, in addition to loopback addresses, or *; repeatable
    #[arg(long, value_name = "HOST")]
    allow_webhooks_to: Vec<String>,
    /// Host name that requests may use, in addition to localhost and loopback addresses; repeatable
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// Directory of pages to serve, with a relay at /relay; repeatable, the first match wins
    #[arg(long, value_name = "DIR")]
    www: Vec<PathBuf>,
    /// Give jobs an editor URL, as for accounts with editor access
    #[arg(long)]
    editor_access: bool,
    /// Published price list to apply
    #[arg(long, value_enum, default_value_t = Prices::Seed)]
    prices: Prices,
    /// Return the first answer again for a repeated Idempotency-Key; the provider is not known to do this
    #[arg(long)]
    honour_idempotency_key: bool,
    /// Accept and draw images at loopback addresses and in data: URLs, which the provider could not fetch
    #[arg(long)]
    lenient_urls: bool,
}

#[derive(Debug, Subcommand)]
enum Other {
    /// Run a client through every charging fault, and print how often it charges
    #[command(
        after_help = "The command runs 30 times, each time with a new sandbox. It must make one charging call to SANDBOX_URL, \
with SANDBOX_API_ID, SANDBOX_API_KEY and SANDBOX_TEMPLATE_ID. If SANDBOX_WARM is set, it must make one free call first, so that \
the charging call uses an open connection. The exit status is 1 if a run was charged more than once."
    )]
    Prove {
        /// Time limit of one run in seconds
        #[arg(long, default_value_t = 60)]
        timeout: u64,
        /// The client and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if (0.001..=1_000_000.0).contains(&speed) { Ok(speed) } else { Err("must be from 0.001 to 1000000".to_owned()) }
}

fn credits(text: &str) -> Result<f64, String> {
    let credits: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if (0.0..=1e9).contains(&credits) { Ok(credits) } else { Err("must be from 0 to 1000000000".to_owned()) }
}

fn key(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((id, key)) if !id.is_empty() && !key.is_empty() => Ok((id.to_owned(), key.to_owned())),
        _ => Err("expected ID:KEY".to_owned()),
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
        return Err(format!("--www {}: no such directory", missing.display()));
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
            format!("port {port} is in use: stop the program that listens on it, or choose another with --port (0 picks a free one)")
        }
        _ => format!("cannot listen on port {port}: {error}"),
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
                Ok(false) => Err("the client was charged more than once".to_owned()),
                Err(error) => Err(error),
            },
        }
    });
    // Does not wait for a video that is being rendered.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sandbox: {error}");
            ExitCode::FAILURE
        }
    }
}
