//! How the edge starts, step by step. Each may fail until this process serves; one before it goes on as it did then.
//!
//! | step | |
//! |---|---|
//! | [`before`] | a process that runs is asked for its sockets, and in the end to leave |
//! | [`house`] | what the threads share |
//! | [`tables`] | what was kept serves until the store answers |
//! | [`doors`] | this process listens |
//! | [`words`] | what it says: to the next process, to people, to the controller |
//! | [`life`] | it runs until it ends |

mod before;
mod doors;
mod house;
mod life;
mod tables;
mod words;

use crate::engine::Engine;
use crate::listeners::{ListenerProblems, Listeners};
use crate::sources::{self, Assembler, Contact};
use crate::stapling::Stapler;
use crate::succession::{self, Predecessors, Reports};
use crate::{Config, Error};
use before::Before;
use doors::{Asked, Doors};
use identity::machines_authorities;
use life::{Ends, Life};
use lifecycle::{Started, Stop};
use routing::Network;
use std::mem;
use std::sync::Arc;
use tables::Tables;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use words::{Controllers, Words};

/// Binds, and serves until the stop; parts are `""` for each listener, `https` for each over TLS, and `api`.
pub async fn start(mut config: Config, stop: Stop) -> Result<Started, Error> {
    if let Some(api) = config.api {
        config.verifier.may_guard(api)?;
    }
    let _reading = spawn_blocking(machines_authorities);
    let ends = Ends::of(stop);
    let Before { taken, somebody_remains, sockets, probe } =
        Before::ask(config.data.as_deref(), config.take_over).await?;
    let (accept, accepts) = watch::channel(taken.is_none());
    let house = Arc::new(house::new(&config, sockets, probe, accepts, &ends.stop)?);
    let engine = Engine::start(house.clone()).map_err(Error::Thread)?;
    let controllers = Controllers::of(&mut config)?;
    let Tables { certificates, tickets, keeper, kept, held } = Tables::restored(&config, &house)?;

    // Requests find the kept table.
    let proxies: Arc<[Network]> = mem::take(&mut config.proxies).into();
    let doors = Doors::open(Asked::by(&config), &engine, &house.sockets, (&certificates, &tickets, &proxies)).await?;
    let problems = ListenerProblems::default();
    let mut listeners = Listeners::new(engine, proxies.clone(), certificates.clone(), tickets, &problems);

    // Ends with the stop or with this set, whichever comes first.
    let mut background = JoinSet::new();
    let (current, contact) = (house.current.clone(), Arc::new(Contact::new()));
    let updates = sources::watch_all(&config.store, &house.metrics, &contact, held, &ends.end, &mut background);
    background.spawn(current.checks.clone().run());
    background.spawn(Arc::new(Stapler::new(current.clone())).run());
    let assembler =
        Assembler::new(current.clone(), house.metrics.clone(), keeper, certificates, house.challenges.clone());
    background.spawn(assembler.with_aliases(mem::take(&mut config.vulcand.aliases)).run(updates));

    let is_draining = taken.as_ref().is_some_and(|taken| taken.is_draining);
    let predecessors = Predecessors::default();
    if let Some(taken) = taken {
        before::take_over(taken, &house, &mut listeners, &predecessors, &accept).await?;
    }

    let name = succession::name().map_err(Error::Random)?;
    let reports = Reports::new(current.clone(), &predecessors, name);
    let (retired, has_retired) = watch::channel(false);
    if let Some(kept) = kept {
        let (kept, unretired) = (kept.keep(current), ends.unretired.clone());
        background.spawn(async move {
            unretired.or(kept).await;
        });
    }
    let words = Words::new(reports.clone(), is_draining);
    if let Some(data) = &config.data {
        words.for_the_next_process(data, &house, predecessors, retired, &ends.over, &mut background);
    }
    let life = Life::new(ends, &house, &config, has_retired, reports);
    let Doors { addresses, first, api } = doors;
    if let Some(listener) = api {
        let readiness = words.readiness(&house, contact, crate::ready::Listener::new(first, &proxies));
        let router = words.for_people(&mut config, &house, &controllers, problems, readiness);
        background.spawn(web::serve(listener, router, web::Bounds::default(), life.unretired()));
    }
    if controllers.dialer.knows_a_controller() {
        let session = words.for_the_controller(config, &house, controllers, first);
        background.spawn(words::after(somebody_remains, session));
    }

    let running = tokio::spawn(life.run(listeners, background));
    let started = Started::new(async move { running.await? });
    Ok(addresses.into_iter().fold(started, |started, (part, address)| started.listening(part, address)))
}
