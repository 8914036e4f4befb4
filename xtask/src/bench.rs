//! Side-by-side measurements: see docs/benchmarks.md for the method and the table.

use crate::{setup, shell};
use clap::Subcommand;

#[derive(Subcommand)]
pub enum Subject {
    /// Seconds until the demo's app is routed and scaled
    Demo {
        #[arg(long, default_value_t = 15)]
        runs: u32,
    },
    /// Three machines that are killed, cut, paused and restarted: what each fault cost (root)
    Nodes {
        #[arg(long, default_value_t = 5)]
        runs: u32,
    },
    /// Three machines at rest: memory and CPU of every process (root)
    Idle {
        /// How long they are watched
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Requests through our edge, Debian's HAProxy and nginx: CPU per request, latency, memory, time to a change
    Edge {
        #[arg(long, default_value_t = 15)]
        pairs: u32,
        /// One of work, latency, idle, change, detail; may be repeated. All, if none is named
        #[arg(long)]
        part: Vec<String>,
        /// Works whose name has this in it
        #[arg(long)]
        only: Option<String>,
    },
    /// The floating address: how long it is away after a cut and after a stop, ours and Debian's keepalived (root)
    Vip {
        #[arg(long, default_value_t = 15)]
        rounds: u32,
        /// Instead: both at once with every core busy for this long, and takeovers though the holder lives
        #[arg(long, value_name = "MINUTES")]
        soak: Option<u32>,
    },
    /// Durable puts: our store and Debian's etcd
    Store {
        /// Pairs of runs
        #[arg(long, default_value_t = 15)]
        pairs: u32,
    },
}

/// Its example runs the router alone, as keepalived is one.
fn vip(rounds: u32, soak: Option<u32>) -> anyhow::Result<()> {
    setup::run()?;
    let package = ["--release", "--package", "vip", "--features", "real"];
    shell::run("cargo", &[["build"].as_slice(), &package, &["--bin", "vip-harness"]].concat())?;
    let asked = match soak {
        Some(minutes) => vec!["soak".to_owned(), minutes.to_string()],
        None => vec!["--rounds".to_owned(), rounds.to_string()],
    };
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    shell::run("cargo", &[["run"].as_slice(), &package, &["--example", "failover", "--"], &asked].concat())
}

pub fn run(subject: Subject) -> anyhow::Result<()> {
    shell::run("cargo", &["build", "--release", "--package", "roadstead", "--package", "bench"])?;
    match subject {
        Subject::Demo { runs } => shell::run("target/release/bench", &["demo", "--runs", &runs.to_string()]),
        Subject::Nodes { runs } => shell::run("target/release/bench", &["nodes", "--runs", &runs.to_string()]),
        Subject::Idle { seconds } => shell::run("target/release/bench", &["idle", "--seconds", &seconds.to_string()]),
        Subject::Vip { rounds, soak } => vip(rounds, soak),
        Subject::Edge { pairs, part, only } => {
            setup::for_bench()?;
            let pairs = pairs.to_string();
            let mut arguments = vec!["edge", "--pairs", &pairs];
            part.iter().for_each(|part| arguments.extend(["--part", part]));
            only.iter().for_each(|only| arguments.extend(["--only", only]));
            shell::run("target/release/bench", &arguments)
        }
        Subject::Store { pairs } => {
            setup::run()?;
            shell::run("target/release/bench", &["store", "--pairs", &pairs.to_string()])
        }
    }
}
