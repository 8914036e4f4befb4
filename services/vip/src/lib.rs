//! The floating address: virtual routers on this node's interfaces, by VRRP.
//!
//! ```text
//!            letters                      errands
//! health, spread ───▶ speaker (thread) ───────────▶ keeper (thread) ──▶ netlink, ARP, NA
//! fence ◀─ questions ─┤    ▲ adverts                   │ links
//!   └─────  answers ──┘    └── raw sockets   ◀─────────┘
//!                          │
//!                          └─ reports ──▶ status ──▶ /status, /metrics, the log
//! ```
//!
//! What to do is decided by [`vrrp::Router`], which is pure. Here are its senses and hands, split by what may wait for
//! what: the [`speaker`] waits for nothing but packets and its clock, at real-time priority where the kernel permits;
//! the [`keeper`] may wait for the kernel's lock of all links; everything else is ordinary asynchronous work. They meet
//! in bounded queues, and the threads share nothing with the others but atomic numbers.
//!
//! An address is added with a lifetime of [`vrrp::ADDRESS_LIFETIME`] and renewed while it is held: after `kill -9`, or
//! while the process is stopped, the kernel drops it by itself. Nothing else of the machine is changed: no route, no
//! sysctl, no interface.
//!
//! Where there is a store, a holder also watches its interface's counter of received packets, several times a second: one
//! that receives nothing, and whom the store does not answer, is heard by its backups while its clients reach nobody
//! ([`vrrp::ISOLATION_MAX`]). The counter is the kernel's (`RTM_GETSTATS`), so nothing is captured and nothing missed.
//! What an interface's own switch sends by itself (spanning tree, LLDP) counts as received.
//!
//! Reading order: `settings`, `speaker`, `keeper`, `fence`, `health`, `spread`, `status`.

mod adverts;
mod announce;
mod clock;
mod face;
mod fence;
mod health;
mod keeper;
mod link;
mod mailbox;
mod metrics;
mod netlink;
mod realtime;
mod report;
mod settings;
mod speaker;
mod spread;
mod status;
mod vitals;

pub use link::interface_of;
pub use settings::{ADVERT_INTERVAL, PRIORITY, SettingsError, VirtualRouter};
pub use spread::{FloatingAddress, VRID_FIRST, spread};
pub use vrrp::{Checksum, GarpPolicy, OWNER_PRIORITY, Password, Version};

use crate::fence::HeldLease;
use crate::health::Edge;
use crate::report::Fitness;
use crate::speaker::{Hands, Letter, Speaker};
use crate::spread::rounds::{Means, Rounds};
use crate::status::{Known, Status};
use crate::vitals::{Count, Vitals};
use lifecycle::{Started, Stop};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use store::Store;
use tokio::sync::{mpsc, oneshot, watch};

pub struct Config {
    /// This node's name, unique in the cluster: who holds an address in the store.
    pub node: String,
    pub routers: Vec<VirtualRouter>,
    /// Where the edge says whether it serves (its `/ready`). None: this node is always ready.
    pub ready_url: Option<String>,
    pub ready_credentials: web::Credentials,
    /// Asked before a silent holder is replaced. None: VRRP alone.
    pub store: Option<Arc<dyn Store>>,
    /// With a store: how long a ready node that holds fewer addresses than others waits before it asks for one. None: it never
    /// does. For routers that do not preempt.
    pub spread_after: Option<Duration>,
    /// Where status and metrics are served.
    pub listen: Option<SocketAddr>,
    pub verifier: identity::Verifier,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Exposed(#[from] identity::OpenBeyondLoopback),
    #[error("virtual router {vrid}")]
    Settings { vrid: u8, source: SettingsError },
    #[error("the virtual routers")]
    Together(#[source] SettingsError),
    #[error("bind the address's API")]
    Bind(#[source] io::Error),
    #[error("open raw sockets (CAP_NET_RAW and CAP_NET_ADMIN are needed)")]
    Sockets(#[source] io::Error),
    #[error("start a thread")]
    Thread(#[source] io::Error),
}

/// Opens what needs permission, then speaks and listens until the stop: then the addresses are handed over (priority 0),
/// removed, and given back to the store. The API's part is `""`.
pub async fn start(config: Config, stop: Stop) -> Result<Started, Error> {
    let Config { node, routers, ready_url, ready_credentials, store, spread_after, listen, verifier } = config;
    for router in &routers {
        router.validate().map_err(|source| Error::Settings { vrid: router.vrid, source })?;
    }
    settings::validate(&routers).map_err(Error::Together)?;
    let listener = match listen {
        Some(listen) => {
            verifier.may_guard(listen)?;
            Some(web::bind(listen).await.map_err(Error::Bind)?)
        }
        None => None,
    };
    let address = listener.as_ref().map(tokio::net::TcpListener::local_addr).transpose().map_err(Error::Bind)?;

    // Not ready until the edge has said so.
    let asked = "the edge was not asked yet".to_owned();
    let fitness = if ready_url.is_some() { Fitness::NotReady(asked) } else { Fitness::Ready };
    let configured: Vec<u8> = routers.iter().map(|router| router.priority).collect();
    let priorities: Vec<u8> = configured.iter().map(|&priority| health::priority(priority, &fitness)).collect();
    let vitals: Vec<Arc<Vitals>> = routers.iter().map(|_| Arc::default()).collect();
    let lost = Arc::<Count>::default();
    let (reporter, reports) = report::reporter(lost.clone());
    let (letters, mailbox) = mailbox::mailbox().map_err(Error::Sockets)?;
    let (errands, keeper) =
        keeper::open(&routers, &vitals, letters.clone(), reporter.clone()).map_err(Error::Sockets)?;
    let (questions, asked) = mpsc::channel(fence::QUESTIONS_MAX);
    let hands = Hands { keeper: errands, questions: store.is_some().then_some(questions), reporter };
    let speaker = Speaker::new(&routers, &priorities, &vitals, mailbox, hands);

    let (kept, keeper_ended) = oneshot::channel();
    let (spoken, speaker_ended) = oneshot::channel();
    let (told, scheduled) = oneshot::channel();
    let memory = realtime::stay_in_memory();
    spawn("vip-keeper", move || {
        // What the speaker could do, the keeper can.
        let _ = realtime::schedule_first();
        keeper.run();
        let _ = kept.send(());
    })?;
    spawn("vip-speaker", move || {
        let _ = told.send(realtime::schedule_first());
        speaker.run();
        let _ = spoken.send(());
    })?;
    let scheduling = scheduled.await.unwrap_or_else(|_| Err(io::Error::other("the thread ended")));

    let (fitness, fitness_now) = watch::channel(fitness);
    let fitness_now = ready_url.is_some().then_some(fitness_now);
    let edge = ready_url.map(|url| Edge::new(url, ready_credentials));
    let lease = Arc::<HeldLease>::default();
    let rounds = store.clone().zip(spread_after).map(|(store, after)| {
        let (node, lease, fitness) = (node.clone(), lease.clone(), fitness_now.clone());
        let means = Means { store, node, lease, fitness, edge: edge.clone(), speaker: letters.clone() };
        Rounds::new(means, &routers, &vitals, after)
    });
    let (rounds, spread) = rounds.unzip();
    let status = Arc::new(Status {
        node: node.clone(),
        scheduling: if scheduling.is_ok() { "real time (round robin)" } else { "ordinary: real time is not permitted" },
        memory: if memory.is_ok() { "locked" } else { "not locked: not permitted" },
        routers: routers.iter().zip(&vitals).map(|(one, vitals)| Known::new(one.clone(), vitals.clone())).collect(),
        lost,
        fitness: fitness_now,
        fenced: store.is_some(),
        spread,
    });
    tracing::info!(scheduling = status.scheduling, memory = status.memory, "the address's threads");
    let recording = tokio::spawn(status.clone().record(reports));
    let fencing = store.map(|store| {
        let (routers, vitals, letters) = (routers.clone(), vitals.clone(), letters.clone());
        tokio::spawn(async move { fence::run(store, node, lease, &routers, &vitals, asked, letters).await })
    });
    let spreading = rounds.map(|rounds| tokio::spawn(rounds.run(stop.clone())));
    if let Some(edge) = &edge {
        let (status, letters) = (status.clone(), letters.clone());
        let holds = move || status.holds();
        tokio::spawn(health::watch(edge.clone(), configured, fitness, holds, letters, stop.clone()));
    }
    let holds = {
        let status = status.clone();
        move || status.holds()
    };
    let serving = listener.map(|listener| {
        let router = face::router(status, verifier);
        tokio::spawn(web::serve(listener, router, web::Bounds::default(), stop.clone()))
    });

    let work = async move {
        // The speaker ends only when it is told to; an earlier end is a panic, which took the sender with it.
        let mut speaker_ended = speaker_ended;
        tokio::select! {
            () = stop.requested() => {
                if let Some(edge) = edge.filter(|_| holds()) {
                    edge.become_quiet().await;
                }
                letters.send(Letter::Stop);
                speaker_ended.await?;
            }
            ended = &mut speaker_ended => ended?,
        }
        keeper_ended.await?;
        if let Some(spreading) = spreading {
            spreading.await?;
        }
        if let Some(fencing) = fencing {
            fencing.await?;
        }
        recording.await?;
        if let Some(serving) = serving {
            serving.await?;
        }
        Ok(())
    };
    let started = Started::new(work);
    Ok(match address {
        Some(address) => started.listening("", address),
        None => started,
    })
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    thread::Builder::new().name(name.to_owned()).spawn(run).map(drop).map_err(Error::Thread)
}
