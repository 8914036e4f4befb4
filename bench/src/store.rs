//! Durable puts of small values by many clients at once.

use crate::server::Server;
use crate::statistics::Spread;
use anyhow::Context;
use bytes::Bytes;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use store::{ClientCredentials, EtcdClient, Store};

const CLIENTS: usize = 64;
const PUTS: usize = 6400;
const VALUE_BYTES: usize = 128;

struct Run {
    puts_per_second: f64,
    cpu_microseconds_per_put: f64,
}

pub async fn run(pairs: usize) -> anyhow::Result<()> {
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for pair in 0..pairs {
        // Whoever goes first may find a colder or a busier disk: the order alternates.
        if pair % 2 == 0 {
            ours.push(measure(roadstead).await?);
            theirs.push(measure(etcd).await?);
        } else {
            theirs.push(measure(etcd).await?);
            ours.push(measure(roadstead).await?);
        }
        eprintln!("pair {} of {pairs}", pair + 1);
    }
    let ratio = |figure: fn(&Run) -> f64| ours.iter().zip(&theirs).map(|(a, b)| figure(a) / figure(b)).collect();
    let median = |runs: &[Run], figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure).collect());
    println!("{PUTS} puts of {VALUE_BYTES} bytes by {CLIENTS} clients, {pairs} pairs");
    for (name, figure) in [
        ("CPU microseconds per put", (|run| run.cpu_microseconds_per_put) as fn(&Run) -> f64),
        ("puts per second", |run| run.puts_per_second),
    ] {
        let own = median(&ours, figure).context("at least one pair")?;
        let other = median(&theirs, figure).context("at least one pair")?;
        let ratio = Spread::of(ratio(figure)).context("at least one pair")?;
        println!("{name}: roadstead {own}, etcd {other}, ratio {ratio}");
    }
    Ok(())
}

async fn measure(program: fn(&str, u16) -> Command) -> anyhow::Result<Run> {
    let data = tempfile::tempdir()?;
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let command = program(&data.path().display().to_string(), port);
    let server = Server::start(command, format!("127.0.0.1:{port}")).await?;
    let endpoint = format!("http://{}", server.address);
    let client = Arc::new(EtcdClient::connect(&[endpoint], ClientCredentials::None, None)?);
    client.put("/warm", Bytes::from_static(b"up")).await?;

    let (start, cpu) = (Instant::now(), server.cpu_seconds()?);
    let clients = (0..CLIENTS).map(|number| {
        let client = client.clone();
        async move {
            for put in 0..PUTS / CLIENTS {
                client.put(&format!("/bench/{number}/{put}"), vec![b'x'; VALUE_BYTES].into()).await?;
            }
            anyhow::Ok(())
        }
    });
    futures::future::try_join_all(clients).await?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = server.cpu_seconds()? - cpu;
    Ok(Run { puts_per_second: PUTS as f64 / seconds, cpu_microseconds_per_put: cpu * 1e6 / PUTS as f64 })
}

fn roadstead(data: &str, port: u16) -> Command {
    let mut command = Command::new("target/release/roadstead");
    command.args(["store", "--open", "--data", data, "--listen", &format!("127.0.0.1:{port}")]);
    command
}

fn etcd(data: &str, port: u16) -> Command {
    let url = format!("http://127.0.0.1:{port}");
    let mut command = Command::new("etcd");
    command.args(["--data-dir", data, "--listen-client-urls", &url, "--advertise-client-urls", &url]);
    // Port 0: a lone member talks to no peer.
    command.args(["--listen-peer-urls", "http://127.0.0.1:0", "--log-level", "error"]);
    command
}
