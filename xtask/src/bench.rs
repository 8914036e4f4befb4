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
    /// Durable puts: our store and Debian's etcd
    Store {
        /// Pairs of runs
        #[arg(long, default_value_t = 15)]
        pairs: u32,
    },
}

pub fn run(subject: Subject) -> anyhow::Result<()> {
    shell::run("cargo", &["build", "--release", "--package", "roadstead", "--package", "bench"])?;
    match subject {
        Subject::Demo { runs } => shell::run("target/release/bench", &["demo", "--runs", &runs.to_string()]),
        Subject::Store { pairs } => {
            setup::run()?;
            shell::run("target/release/bench", &["store", "--pairs", &pairs.to_string()])
        }
    }
}
