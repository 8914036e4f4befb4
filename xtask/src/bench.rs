//! Side-by-side measurements: see docs/benchmarks.md for the method and the table.

use crate::{setup, shell};
use clap::Subcommand;

#[derive(Subcommand)]
pub enum Subject {
    /// Durable puts: our store and Debian's etcd
    Store {
        /// Pairs of runs
        #[arg(long, default_value_t = 15)]
        pairs: u32,
    },
}

pub fn run(subject: Subject) -> anyhow::Result<()> {
    setup::run()?;
    match subject {
        Subject::Store { pairs } => {
            let pairs = pairs.to_string();
            shell::run("cargo", &["build", "--release", "--quiet", "--package", "roadstead"])?;
            shell::run(
                "cargo",
                &["run", "--release", "--quiet", "--package", "bench", "--", "store", "--pairs", &pairs],
            )
        }
    }
}
