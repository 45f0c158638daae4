//! The sandbox against its own `OpenAPI` document, with thousands of requests that schemathesis generates.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::counts::Counts;
use super::debian::{self, PYTHON};
use super::lab::Lab;
use super::node::sandbox_program;
use super::tools;
use crate::sandbox::Sandbox;
use crate::shell;
use crate::workspace::Workspace;

/// The checks of every answer: no 500, nothing undocumented, and no access without keys.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
response_schema_conformance,ignored_auth,unsupported_method,allow_header_conformance,use_after_free,\
ensure_resource_availability";

/// The fewest requests of a valid run.
const CASES: usize = 2_000;

/// Runs schemathesis against the sandbox at `url`.
fn run(workspace: &Workspace, python: &Path, url: &str) -> Result<Counts> {
    let program = tools::from_pypi(workspace, python, "openapi")?.join("schemathesis");
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

/// Generated requests to a sandbox of their own, whose jobs end at once and whose credits suffice.
pub fn suite(lab: &mut Lab) -> Result<Counts> {
    let [python] = match debian::find([&PYTHON])? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    let mut command = Command::new(sandbox_program(&lab.workspace)?);
    command.args(["--port", "0", "--speed", "1000000", "--credits", "1000000000"]);
    let sandbox = Sandbox::start(&mut command)?;
    lab.on_signal(sandbox.stopper())?;
    run(&lab.workspace, &python, &sandbox.url)
}
