//! `cargo xtask bench load`: the load that the sandbox serves, beside Prism on the same document.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::shell::{self, step};
use crate::test::debian::{self, NODE, NPM};
use crate::workspace::Workspace;
use crate::{npm, sandbox};

/// The directory that pins Prism.
const TOOLS: &str = "xtask/bench/load";

/// The load on two cores, which the server and the load generator share.
pub fn run(workspace: &Workspace) -> Result<Value> {
    if let Err(missing) = debian::find([&NODE, &NPM])? {
        bail!("{missing}");
    }
    npm::install(workspace, TOOLS)?;
    let program = step("build the sandbox", || sandbox::build_for_bench(workspace))?;
    step("build the load generator", || {
        shell::run(workspace.cargo().args(["build", "--package", "sandbox", "--example", "load", "--release"]))
    })?;
    let mut command = match shell::find_program(&["taskset"]) {
        Some(taskset) => {
            let mut command = Command::new(taskset);
            command.args(["--cpu-list", "0,1", "node"]);
            command
        }
        None => Command::new("node"),
    };
    command
        .current_dir(&workspace.root)
        .arg(workspace.path("tests/bench/load.mjs"))
        .arg(program)
        .arg(workspace.release_program("examples/load"))
        .arg(workspace.path(TOOLS))
        .arg(workspace.target.join("bench"));
    let text = step("measure the load", || shell::read(&mut command))?;
    let found: Value = serde_json::from_str(&text).context("load.mjs printed no JSON")?;
    println!("\n{}", table(&found));
    let missed: Vec<&str> = found["missed"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !missed.is_empty() {
        bail!("the sandbox falls short: {}", missed.join("; "));
    }
    Ok(found)
}

fn table(found: &Value) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let memory = &found["memory"];
    format!(
        "status requests a second   sandbox {:.0}, Prism {:.0} (x{:.1})\n\
         first answer after start   {:.0} ms, at worst {:.0} ms\n\
         memory                     {:.0} MB empty, {:.0} MB with {} jobs\n",
        number(&found["sandbox"]),
        number(&found["prism"]),
        number(&found["ratio"]),
        number(&found["firstAnswer"]["ms"]),
        number(&found["firstAnswer"]["worst"]),
        number(&memory["empty"]),
        number(&memory["full"]),
        memory["jobs"],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_table_has_every_figure() {
        let found = json!({
            "sandbox": 15_000.4, "prism": 1_000.2, "ratio": 14.99, "firstAnswer": { "ms": 11.2, "worst": 30.6 },
            "memory": { "jobs": 10_000, "empty": 8.1, "full": 56.7 },
        });
        let text = table(&found);
        for words in ["sandbox 15000, Prism 1000 (x15.0)", "11 ms, at worst 31 ms", "8 MB empty, 57 MB with 10000 jobs"] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}
