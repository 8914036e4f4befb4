//! Three machines that are killed, cut, paused and restarted: what each fault cost, over many runs of the demo.

use crate::statistics::Spread;
use anyhow::{Context, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};

const TIMES: [(&str, &str); 4] = [
    ("endpoints_out_s", "servers out of the routes"),
    ("tasks_elsewhere_s", "tasks elsewhere"),
    ("address_moved_s", "address moved"),
    ("writes_silence_max_s", "longest without a write"),
];

/// Of one fault, over all runs.
#[derive(Default)]
struct Seen {
    requests: u64,
    failed: u64,
    failed_max: u64,
    times: BTreeMap<&'static str, Vec<f64>>,
}

pub fn run(runs: usize) -> anyhow::Result<()> {
    let mut faults: Vec<(String, Seen)> = Vec::new();
    for number in 0..runs {
        let mut command = Command::new("target/release/roadstead");
        command.args(["demo", "--nodes", "3", "--once", "--json"]).stdin(Stdio::null());
        let output = command.stderr(Stdio::null()).output().context("start the demo")?;
        let report: Value = serde_json::from_slice(&output.stdout).context("read the report")?;
        ensure!(report["ok"] == true, "run {number}: {report}");
        for (position, fault) in report["faults"].as_array().context("a list of faults")?.iter().enumerate() {
            if faults.len() <= position {
                faults.push((fault["name"].as_str().unwrap_or_default().to_owned(), Seen::default()));
            }
            faults[position].1.note(fault);
        }
        eprintln!("run {} of {runs}", number + 1);
    }
    for (name, seen) in faults {
        println!(
            "{name}: {} of {} requests failed, {} in one run at most",
            seen.failed, seen.requests, seen.failed_max
        );
        for (figure, what) in TIMES {
            let Some(values) = seen.times.get(figure) else { continue };
            let max = values.iter().copied().fold(0.0, f64::max);
            println!("  {what}: {} s, at most {max:.2} s", Spread::of(values.clone()).context("at least one run")?);
        }
    }
    Ok(())
}

impl Seen {
    fn note(&mut self, fault: &Value) {
        let count = |name: &str| fault[name].as_u64().unwrap_or_default();
        self.requests += count("requests");
        self.failed += count("failed");
        self.failed_max = self.failed_max.max(count("failed"));
        for (figure, _) in TIMES {
            if let Some(seconds) = fault[figure].as_f64() {
                self.times.entry(figure).or_default().push(seconds);
            }
        }
    }
}
