//! Side by side with named peers: ours and theirs run alternately, many pairs, so that a noisy machine disturbs both alike.
//! What is printed are ratios of each pair, their median and the interval that holds half of them; CPU per unit first.

mod demo;
mod edge;
mod idle;
mod nodes;
mod process;
mod server;
mod statistics;
mod store;

use clap::{Parser, Subcommand};
use std::net::SocketAddr;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Subcommand)]
enum Subject {
    /// Requests through `roadstead edge`, HAProxy and nginx: CPU, latency, memory, changes
    Edge {
        #[arg(long, default_value_t = 15)]
        pairs: usize,
        /// All, if none is named
        #[arg(long, value_enum)]
        part: Vec<edge::Part>,
        /// Works whose name has this in it
        #[arg(long)]
        only: Option<String>,
    },
    /// The server behind the proxies of `edge`
    #[command(hide = true)]
    Backend {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long, default_value = "")]
        name: String,
    },
    /// Seconds until the demo's app is routed and scaled
    Demo {
        #[arg(long, default_value_t = 15)]
        runs: usize,
    },
    /// Three machines that are killed, cut, paused and restarted: what each fault cost
    Nodes {
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// Three machines at rest: memory and CPU of every process
    Idle {
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Durable puts: `roadstead store` and etcd
    Store {
        #[arg(long, default_value_t = 15)]
        pairs: usize,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().subject {
        Subject::Edge { pairs, part, only } => edge::run(pairs, &part, only.as_deref()).await,
        Subject::Backend { listen, name } => edge::backend(listen, &name).await,
        Subject::Demo { runs } => demo::run(runs),
        Subject::Nodes { runs } => nodes::run(runs),
        Subject::Idle { seconds } => idle::run(seconds).await,
        Subject::Store { pairs } => store::run(pairs).await,
    }
}
