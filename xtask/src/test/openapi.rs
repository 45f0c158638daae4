//! The sandbox against its own `OpenAPI` document, with thousands of requests that schemathesis generates.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::counts::Counts;
use crate::shell::{self, step};
use crate::workspace::Workspace;

/// The checks of every answer: no 500, nothing undocumented, and no access without keys.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
response_schema_conformance,ignored_auth,unsupported_method,allow_header_conformance,use_after_free,\
ensure_resource_availability";

/// The fewest requests of a valid run.
const CASES: usize = 2_000;

/// Runs schemathesis against the sandbox at `url`.
pub fn run(workspace: &Workspace, python: &Path, url: &str) -> Result<Counts> {
    let program = install(workspace, python)?;
    let folder = workspace.path("tests").join("openapi");
    let mut command = Command::new(program);
    command
        .current_dir(workspace.target.join("test"))
        .args(["run", &format!("{url}/__sandbox/openapi.json")])
        .args(["--header", "X-API-ID: sandbox", "--header", "X-API-KEY: sandbox"])
        .args(["--checks", CHECKS, "--max-examples", "200", "--seed", "1", "--no-color", "--request-timeout", "60"])
        .args(["--generation-database", "none"])
        .env("SCHEMATHESIS_HOOKS", folder.join("hooks.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SANDBOX_URL", url);
    let run = shell::tee(&mut command)?;
    let cases = run.lines.iter().find_map(|line| line.trim().split_once(" generated")?.0.parse().ok()).unwrap_or(0);
    if run.status.success() && cases < CASES {
        eprintln!("error: {cases} requests are fewer than {CASES}");
    }
    Ok(if run.status.success() && cases >= CASES { Counts::passed(1) } else { Counts::failed(1) })
}

/// An environment of Python's own under `target`, made once for each version that is asked for.
fn install(workspace: &Workspace, python: &Path) -> Result<PathBuf> {
    let wanted = workspace.path("tests").join("openapi").join("requirements.txt");
    let environment = workspace.target.join("test").join("schemathesis");
    let program = environment.join("bin").join("schemathesis");
    let stamp = environment.join("requirements.txt");
    let text = shell::read_text(&wanted)?;
    if program.exists() && shell::read_text(&stamp).is_ok_and(|installed| installed == text) {
        return Ok(program);
    }
    step("install schemathesis from PyPI", || {
        shell::fresh_directory(&environment)?;
        shell::run(Command::new(python).args(["-m", "venv"]).arg(&environment))
            .context("Python could not make an environment; on Debian that needs python3-venv")?;
        let pip = environment.join("bin").join("pip");
        shell::run(Command::new(pip).args(["install", "--quiet", "--requirement"]).arg(&wanted))?;
        shell::write_file(&stamp, &text)
    })?;
    Ok(program)
}
