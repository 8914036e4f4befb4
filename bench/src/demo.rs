//! The demo's own figures over many runs. The article's author waited 9 s for one instance and ran a script by hand after
//! the scale; there is no peer to run beside it.

use crate::statistics::Spread;
use anyhow::{Context, ensure};
use std::process::{Command, Stdio};

const FIGURES: [&str; 2] = ["seconds_to_routed", "seconds_to_scaled"];

pub fn run(runs: usize) -> anyhow::Result<()> {
    let mut seen = [Vec::new(), Vec::new()];
    for number in 0..runs {
        let mut command = Command::new("target/release/roadstead");
        command.args(["demo", "--once", "--json", "--runtime", "process"]).stdin(Stdio::null());
        let output = command.stderr(Stdio::null()).output().context("start the demo")?;
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).context("read the report")?;
        ensure!(report["ok"] == true, "run {number}: {report}");
        for (values, figure) in seen.iter_mut().zip(FIGURES) {
            values.push(report[figure].as_f64().context("a figure is a number")?);
        }
        eprintln!("run {} of {runs}", number + 1);
    }
    for (values, figure) in seen.into_iter().zip(FIGURES) {
        println!("{figure}: {}", Spread::of(values).context("at least one run")?);
    }
    Ok(())
}
