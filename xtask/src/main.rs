//! The project's own commands. `cargo xtask --help` lists them.

mod bench;
mod fuzz;
mod setup;
mod shell;
mod soak;
mod test;
mod tidy;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Roadstead's own commands", disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install the peers that `test --real` drives (Debian, as root): etcd, dockerd, keepalived, skopeo, awscli, Chromium and more
    Setup,
    /// Run the tests: hermetic by default (no root, no packages)
    Test {
        /// Add the tests against real peers; a missing peer is a failure
        #[arg(long)]
        real: bool,
        /// Passed on to `cargo test` (a test's name, `-- --nocapture`, …)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Check the house: directions of dependencies, purity, sizes, the specification's tests
    Tidy,
    /// What takes too long for every run of the tests
    Soak {
        #[command(subcommand)]
        subject: soak::Subject,
    },
    /// Try nearly right bytes on everything that reads bytes of strangers, led by what they reach
    Fuzz {
        /// All, if none is named
        targets: Vec<String>,
        /// For each target
        #[arg(long, default_value_t = 1.0)]
        minutes: f64,
        /// Repeats a run
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Measure us beside a named peer, alternately in one run
    Bench {
        #[command(subcommand)]
        subject: bench::Subject,
    },
}

fn main() -> anyhow::Result<()> {
    std::env::set_current_dir(shell::workspace_root()?)?;
    match Arguments::parse().command {
        Command::Setup => setup::run(),
        Command::Test { real, rest } => test::run(real, &rest),
        Command::Tidy => tidy::run(),
        Command::Soak { subject } => soak::run(subject),
        Command::Fuzz { targets, minutes, seed } => fuzz::run(&targets, minutes, seed),
        Command::Bench { subject } => bench::run(subject),
    }
}
