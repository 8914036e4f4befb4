//! The edge beside HAProxy and nginx: the same backend, the same load, one core for the proxy, another for everything else.
//!
//! CPU time per request counts first: it is what a proxy costs, and on a shared machine it drifts least. It is the time on a
//! core of every thread of the proxy's processes (`/proc/PID/task/*/schedstat`), over the requests that were answered.

mod backend;
mod change;
mod detail;
mod idle;
mod load;
mod proxy;
mod routes;

pub use backend::serve as backend;

use crate::statistics::Spread;
use anyhow::{Context, bail};
use backend::Backend;
use clap::ValueEnum;
use load::Load;
use proxy::{Face, Peer, Proxy};
use std::time::Duration;

/// How long one measurement runs; before it a fifth of that warms up.
const RUN: Duration = Duration::from_secs(2);

/// What is asked for, with the ratio of CPU per request to HAProxy's that is wanted.
struct Work {
    name: &'static str,
    face: Face,
    load: Load,
    wanted: f64,
}

const WORKS: [Work; 8] = {
    const SMALL: Load = Load { connections: 64, path: "/", close: false, h2: false, per_second: None, hosts: None };
    const fn plain(name: &'static str, load: Load, wanted: f64) -> Work {
        Work { name, face: Face::Plain, load, wanted }
    }
    [
        plain("64 connections, 100 bytes", SMALL, 0.80),
        plain("8 connections, 100 bytes", Load { connections: 8, ..SMALL }, 0.95),
        plain("512 connections, 100 bytes", Load { connections: 512, ..SMALL }, 0.70),
        plain("64 KiB bodies", Load { path: backend::LARGE_PATH, ..SMALL }, 0.60),
        plain("one connection per request", Load { close: true, ..SMALL }, 0.90),
        Work { name: "TLS 1.3, kept connections", face: Face::Tls, load: SMALL, wanted: 0.80 },
        Work { name: "TLS 1.3, new connections", face: Face::Tls, load: Load { close: true, ..SMALL }, wanted: 0.60 },
        Work { name: "HTTP/2 in front", face: Face::Tls, load: Load { h2: true, ..SMALL }, wanted: 1.0 },
    ]
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// CPU per request of every work
    Work,
    /// Latency at half of HAProxy's load
    Latency,
    /// Memory of 5,000 idle connections
    Idle,
    /// From a change to the first request it serves
    Change,
    /// Instructions and system calls per request
    Detail,
    /// CPU per request with 10 and with 10,000 routes, each request to any of them
    Routes,
}

pub async fn run(pairs: usize, parts: &[Part], only: Option<&str>) -> anyhow::Result<()> {
    let has = |part| parts.is_empty() || parts.contains(&part);
    if has(Part::Work) {
        for work in WORKS.iter().filter(|work| only.is_none_or(|only| work.name.contains(only))) {
            compare(work, pairs).await?;
        }
    }
    if has(Part::Latency) {
        latency(pairs).await?;
    }
    if has(Part::Idle) {
        idle::run().await?;
    }
    if has(Part::Change) {
        change::run(pairs).await?;
    }
    if has(Part::Detail) {
        detail::run().await?;
    }
    if has(Part::Routes) {
        routes::run(pairs).await?;
    }
    Ok(())
}

struct Measured {
    cpu_microseconds: f64,
    requests_per_second: f64,
    p99_microseconds: f64,
}

async fn measure(peer: Peer, backend: &Backend, face: Face, load: &Load) -> anyhow::Result<Measured> {
    measure_one(peer, &Proxy::start(peer, backend, face).await?, load).await
}

async fn measure_one(peer: Peer, proxy: &Proxy, load: &Load) -> anyhow::Result<Measured> {
    load.run(proxy, RUN / 5).await.with_context(|| format!("{peer} warms up"))?;
    let before = proxy.cpu_seconds()?;
    let answered = load.run(proxy, RUN).await.with_context(|| format!("{peer} under load"))?;
    let cpu = proxy.cpu_seconds()? - before;
    if answered.failed > 0 {
        bail!("{peer}: {} of {} requests failed", answered.failed, answered.requests);
    }
    Ok(Measured {
        cpu_microseconds: cpu * 1e6 / answered.requests as f64,
        requests_per_second: answered.requests as f64 / RUN.as_secs_f64(),
        p99_microseconds: answered.p99_microseconds,
    })
}

/// One run of each peer, in an order that turns with every round.
async fn round(number: usize, backend: &Backend, face: Face, load: &Load) -> anyhow::Result<[Measured; 3]> {
    let mut measured = [None, None, None];
    for step in 0..Peer::ALL.len() {
        let turn = (number + step) % Peer::ALL.len();
        measured[turn] = Some(measure(Peer::ALL[turn], backend, face, load).await?);
    }
    let [ours, haproxy, nginx] = measured.map(|one| one.context("every peer was measured"));
    Ok([ours?, haproxy?, nginx?])
}

async fn compare(work: &Work, pairs: usize) -> anyhow::Result<()> {
    let backend = Backend::start().await?;
    let mut rounds = Vec::new();
    for number in 0..pairs {
        rounds.push(round(number, &backend, work.face, &work.load).await?);
        eprintln!("{}: round {} of {pairs}", work.name, number + 1);
    }
    let spread = |figure: &dyn Fn(&[Measured; 3]) -> f64| {
        Spread::of(rounds.iter().map(figure).collect()).context("at least one pair")
    };
    println!("{}", work.name);
    for (position, peer) in Peer::ALL.into_iter().enumerate() {
        let cpu = spread(&|round| round[position].cpu_microseconds)?;
        let rate = spread(&|round| round[position].requests_per_second)?;
        println!("  {peer}: {cpu} µs of CPU per request, {:.0} requests/s", rate.median);
    }
    let ratio = spread(&|round| round[0].cpu_microseconds / round[1].cpu_microseconds)?;
    let to_nginx = spread(&|round| round[0].cpu_microseconds / round[2].cpu_microseconds)?;
    println!("  ratio to HAProxy {ratio}, wanted {:.2}; to nginx {to_nginx}", work.wanted);
    Ok(())
}

/// At half the rate that HAProxy can do.
async fn latency(pairs: usize) -> anyhow::Result<()> {
    let backend = Backend::start().await?;
    let load = &WORKS[0].load;
    let most = measure(Peer::Haproxy, &backend, Face::Plain, load).await?.requests_per_second;
    let half = Load { per_second: Some((most / 2.0) as u64), ..*load };
    let mut rounds = Vec::new();
    for number in 0..pairs {
        rounds.push(round(number, &backend, Face::Plain, &half).await?);
    }
    let spread = |figure: &dyn Fn(&[Measured; 3]) -> f64| {
        Spread::of(rounds.iter().map(figure).collect()).context("at least one pair")
    };
    println!("latency at {:.0} requests/s", most / 2.0);
    for (position, peer) in Peer::ALL.into_iter().enumerate() {
        let p99 = spread(&|round| round[position].p99_microseconds)?;
        let cpu = spread(&|round| round[position].cpu_microseconds)?;
        println!("  {peer}: p99 {p99} µs, {cpu} µs of CPU per request");
    }
    let ratio = spread(&|round| round[0].p99_microseconds / round[1].p99_microseconds)?;
    println!("  p99 ratio to HAProxy {ratio}, wanted below 1");
    Ok(())
}
