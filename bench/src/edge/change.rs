//! From a change to the first request that it serves, with 10,000 routes: ours from the store's acknowledgement, HAProxy's
//! and nginx's from the order to reload. The change is one more host.

use super::backend::Backend;
use super::idle::ask_on;
use super::proxy::{Face, HAPROXY_MAP, NGINX_NAMES, Peer, Proxy, SERVED, Setup, add_route};
use crate::statistics::Spread;
use anyhow::Context;
use std::io::Write;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

const ROUTES: usize = 10_000;
/// Changes of ours in one round; a reload is one.
const CHANGES: usize = 20;
const BETWEEN_RELOADS: Duration = Duration::from_secs(1);

pub async fn run(rounds: usize) -> anyhow::Result<()> {
    let backend = Backend::start().await?;
    println!("milliseconds from a change to the first request it serves, with {ROUTES} routes");
    for peer in Peer::ALL {
        let proxy = Proxy::set_up(Setup { peer, face: Face::Plain, other_hosts: ROUTES, under: &[] }, &backend).await?;
        let mut times = Vec::new();
        for round in 0..rounds {
            match peer {
                Peer::Ours => {
                    for change in 0..CHANGES {
                        times.push(ours(&proxy, &format!("fresh{round}-{change}.example")).await?);
                    }
                }
                Peer::Haproxy => {
                    let host = format!("fresh{round}.example");
                    append(&proxy, HAPROXY_MAP, &format!("{host} b\n"))?;
                    times.push(reload(&proxy, "-USR2", &host).await?);
                }
                Peer::Nginx => {
                    let host = format!("fresh{round}.example");
                    append(&proxy, NGINX_NAMES, &format!("server_name {host};\n"))?;
                    times.push(reload(&proxy, "-HUP", &host).await?);
                }
            }
        }
        times.sort();
        let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize].as_secs_f64() * 1e3;
        let spread = Spread::of(times.iter().map(|time| time.as_secs_f64() * 1e3).collect());
        let spread = spread.context("at least one change")?;
        println!("  {peer}: {spread}, p99 {:.2}, of {} changes", at(0.99), times.len());
    }
    println!("  wanted of ours: p99 at most 5");
    Ok(())
}

async fn ours(proxy: &Proxy, host: &str) -> anyhow::Result<Duration> {
    let store = proxy.store()?;
    let mut connection = TcpStream::connect(proxy.address).await?;
    add_route(&store, host).await?;
    let start = Instant::now();
    while !ask_on(&mut connection, host, "/").await?.starts_with(SERVED) {}
    Ok(start.elapsed())
}

async fn reload(proxy: &Proxy, signal: &str, host: &str) -> anyhow::Result<Duration> {
    // An order that comes while the last one is carried out is lost on HAProxy.
    tokio::time::sleep(BETWEEN_RELOADS).await;
    let start = Instant::now();
    proxy.server.signal(signal)?;
    proxy.serves(host).await?;
    Ok(start.elapsed())
}

fn append(proxy: &Proxy, file: &str, line: &str) -> anyhow::Result<()> {
    let mut file = std::fs::OpenOptions::new().append(true).open(proxy.file(file))?;
    Ok(file.write_all(line.as_bytes())?)
}
