//! `fuzz [TARGET…] --minutes N`: what `cargo xtask fuzz` runs.

use anyhow::bail;
use clap::Parser;
use fuzz::driver::{self, Until};
use fuzz::{Target, all};
use std::time::Duration;

/// Shown of what is wrong: inputs may be long.
const MESSAGE_CHARACTERS_MAX: usize = 400;

#[derive(Parser)]
#[command(about = "Tries nearly right bytes on everything that reads bytes of strangers", disable_version_flag = true)]
struct Arguments {
    /// All, if none is named
    targets: Vec<String>,
    /// For each target
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Repeats a run; without it each is another
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> anyhow::Result<()> {
    let Arguments { targets: names, minutes, seed } = Arguments::parse();
    let known = all();
    let targets: Vec<&Target> = match names.as_slice() {
        [] => known.iter().collect(),
        names => names.iter().map(|name| find(&known, name)).collect::<Result<_, _>>()?,
    };
    let seed = seed.map_or_else(getrandom::u64, Ok)?;
    // A finding is told once, in a line that the corpus takes.
    std::panic::set_hook(Box::new(|_| {}));
    let mut findings = 0;
    for target in targets {
        match driver::run(target, seed, Until::Time(Duration::from_secs_f64(minutes * 60.0)))? {
            Ok(report) => println!(
                "ok    {:<20} {:>10} inputs in {:.0?} (slowest {:.1?}), {} kept, {} places; seed {seed}",
                target.name, report.inputs, report.took, report.slowest, report.kept, report.places
            ),
            Err(finding) => {
                findings += 1;
                println!("FOUND {:<20} after {} inputs; seed {seed}", target.name, finding.inputs);
                let message: String = finding.message.chars().take(MESSAGE_CHARACTERS_MAX).collect();
                println!("      {message}\n      a line for fuzz/corpus/{}:\n{}", target.name, finding.input);
            }
        }
    }
    if findings > 0 {
        bail!("{findings} findings");
    }
    Ok(())
}

fn find<'a>(known: &'a [Target], name: &str) -> anyhow::Result<&'a Target> {
    match known.iter().find(|target| target.name == name) {
        Some(target) => Ok(target),
        None => {
            let names: Vec<&str> = known.iter().map(|target| target.name).collect();
            bail!("no target is called {name:?}: there are {}", names.join(", "))
        }
    }
}
