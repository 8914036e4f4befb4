//! What routes cost a request as a whole: the same load, with few routes and with many, of which each request takes any.

use super::backend::Backend;
use super::load::Load;
use super::proxy::{Face, Peer, Proxy, Setup};
use super::{WORKS, measure_one};
use crate::statistics::Spread;
use anyhow::Context;

const COUNTS: [usize; 2] = [10, 10_000];

pub async fn run(pairs: usize) -> anyhow::Result<()> {
    let backend = Backend::start().await?;
    println!("µs of CPU per request, each to any of the hosts that have a route");
    for peer in Peer::ALL {
        let mut rounds = Vec::new();
        for _ in 0..pairs {
            let mut cpu = [0.0; COUNTS.len()];
            for (cpu, other_hosts) in cpu.iter_mut().zip(COUNTS) {
                let setup = Setup { peer, face: Face::Plain, other_hosts, under: &[] };
                let proxy = Proxy::set_up(setup, &backend).await?;
                let load = Load { hosts: Some(other_hosts), ..WORKS[0].load };
                *cpu = measure_one(peer, &proxy, &load).await?.cpu_microseconds;
            }
            rounds.push(cpu);
        }
        let spread = |figure: &dyn Fn(&[f64; 2]) -> f64| {
            Spread::of(rounds.iter().map(figure).collect()).context("at least one pair")
        };
        let (few, many, ratio) = (spread(&|cpu| cpu[0])?, spread(&|cpu| cpu[1])?, spread(&|cpu| cpu[1] / cpu[0])?);
        println!("  {peer}: {few} with {}, {many} with {}, ratio {ratio}", COUNTS[0], COUNTS[1]);
    }
    Ok(())
}
