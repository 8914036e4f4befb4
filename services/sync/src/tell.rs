//! The author's lines, and the diff of `--dry-run`.

use crate::Summary;
use crate::keys::server_key;
use crate::plan::{Plan, Step};
use std::io::{self, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loudness {
    /// Every server that was looked at, as the author's tool.
    Everything,
    Changes,
}

/// Tells each step in the author's words; he named apps without their slash while checking, with it while creating.
/// `outcomes` says for each step whether it could be carried out.
pub fn steps(plan: &Plan, outcomes: &[bool], loudness: Loudness, output: &mut dyn Write) -> io::Result<Summary> {
    let mut summary = Summary::default();
    for (step, is_done) in plan.steps.iter().zip(outcomes) {
        count(step, *is_done, &mut summary);
        if loudness == Loudness::Changes && !step.is_change() {
            continue;
        }
        match step {
            Step::Unchecked { app } => writeln!(output, "{}", misconfigured(app, "check")),
            Step::Keep { app, server } => {
                let (host, port) = (&server.host, server.port);
                writeln!(output, "{host} {port}")?;
                writeln!(
                    output,
                    "Marathon App {app}: The container running on {host} and listening on port {port} is still running"
                )
            }
            Step::Remove { app, server, .. } => {
                let (host, port) = (&server.host, server.port);
                let outcome = if *is_done {
                    "isn't running anymore and the corresponding vulcan server has been deleted"
                } else {
                    "isn't running anymore, but the corresponding vulcan server hasn't been deleted"
                };
                writeln!(output, "{host} {port}")?;
                writeln!(
                    output,
                    "Marathon App {app}: The container running on {host} and listening on port {port} {outcome}"
                )
            }
            Step::Put { app, frontend, backend, server, .. } => {
                let (key, value) = (server_key(backend, server), server.value());
                if *is_done {
                    writeln!(
                        output,
                        "Marathon App /{app}: Key /keys{key} created or updated in ETCD with the value value={value} for the frontend {frontend}"
                    )
                } else {
                    writeln!(
                        output,
                        "Marathon App /{app}: Cannot create the key /keys{key} in ETCD with the value value={value} for the frontend {frontend}"
                    )
                }
            }
            Step::Unconfigured { app } => writeln!(output, "{}", misconfigured(&format!("/{app}"), "configure")),
        }?;
    }
    Ok(summary)
}

/// One line per key and value: `-` for what goes, `+` for what comes.
pub fn diff(plan: &Plan, output: &mut dyn Write) -> io::Result<Summary> {
    let mut summary = Summary::default();
    for step in plan.steps.iter().filter(|step| step.is_change()) {
        count(step, true, &mut summary);
        match step {
            Step::Remove { backend, server, before, .. } => {
                writeln!(output, "- {} {before}", server_key(backend, server))?;
            }
            Step::Put { backend, server, before, .. } => {
                let key = server_key(backend, server);
                if let Some(before) = before {
                    writeln!(output, "- {key} {before}")?;
                }
                writeln!(output, "+ {key} {}", server.value())?;
            }
            _ => {}
        }
    }
    Ok(summary)
}

fn count(step: &Step, is_done: bool, summary: &mut Summary) {
    match step {
        _ if !is_done => summary.failed += 1,
        Step::Remove { .. } => summary.removed += 1,
        Step::Put { .. } if step.is_change() => summary.added += 1,
        _ => {}
    }
}

fn misconfigured(app: &str, verb: &str) -> String {
    format!(
        "ETCD frontend and backend keys corresponding to the marathon App with the ID {app} aren't configured properly. \
         Can't {verb} the Vulcan servers for this application"
    )
}
