//! What takes too long for every run of the tests.

use crate::{setup, shell};
use clap::Subcommand;

#[derive(Subcommand)]
pub enum Subject {
    /// Kill every process of three machines in turn, under deployments (root)
    Kill {
        #[arg(long, default_value_t = 100)]
        kills: u32,
    },
    /// Change what an edge serves, and scale what it serves from 1 to 50 and back, under requests: none fails, memory is flat
    Edge {
        #[arg(long, default_value_t = 200_000)]
        changes: u32,
        #[arg(long, default_value_t = 20)]
        scalings: u32,
    },
}

pub fn run(subject: Subject) -> anyhow::Result<()> {
    match subject {
        Subject::Edge { changes, scalings } => {
            let sizes = [format!("ROADSTEAD_CHANGES={changes}"), format!("ROADSTEAD_SCALINGS={scalings}")];
            let test = ["cargo", "test", "--package", "edge", "--test", "churn", "--", "--nocapture"];
            shell::run("env", &[[sizes[0].as_str(), sizes[1].as_str()].as_slice(), &test].concat())
        }
        Subject::Kill { kills } => {
            setup::run()?;
            let kills = format!("ROADSTEAD_KILLS={kills}");
            let test =
                ["test", "--package", "roadstead", "--features", "real", "--test", "real_cluster", "--", "--nocapture"];
            shell::run("env", &[[kills.as_str(), "cargo"].as_slice(), &test].concat())
        }
    }
}
