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
}

pub fn run(subject: Subject) -> anyhow::Result<()> {
    setup::run()?;
    match subject {
        Subject::Kill { kills } => {
            let kills = format!("ROADSTEAD_KILLS={kills}");
            let test =
                ["test", "--package", "roadstead", "--features", "real", "--test", "real_cluster", "--", "--nocapture"];
            shell::run("env", &[[kills.as_str(), "cargo"].as_slice(), &test].concat())
        }
    }
}
