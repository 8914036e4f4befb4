//! One machine: its process, which can be paused or killed, and its kernel, which cannot.

use std::net::IpAddr;
use std::time::Duration;

use crate::{Advertisement, Fence, Moment, Router, RouterConfig};

use super::world::Setup;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    Running,
    Paused,
    Dead,
}

/// What reached a paused process.
pub(super) enum Waiting {
    Packet { from: IpAddr, packet: Advertisement },
    Verdict { question: u64, verdict: Fence },
}

pub(super) struct Node {
    pub(super) address: IpAddr,
    pub(super) router: Router,
    pub(super) process: Process,
    pub(super) inbox: Vec<Waiting>,
    pub(super) timer_at: Option<Moment>,
    /// The kernel's: when the floating address expires.
    pub(super) holds_until: Option<Moment>,
    pub(super) reaches_store: bool,
    /// The interface's counter.
    pub(super) packets: u64,
    /// The open question to the store.
    pub(super) question: Option<u64>,
    /// The last advertisement of this holder.
    pub(super) spoke_at: Option<Moment>,
    /// When it was last resumed, and how long it had said nothing then.
    pub(super) woke: Option<(Moment, Duration)>,
}

impl Node {
    pub(super) fn new(index: usize, setup: Setup) -> Node {
        let address = IpAddr::from([10, 0, 0, 1 + index as u8]);
        Node {
            address,
            router: router(index, address, setup),
            process: Process::Running,
            inbox: Vec::new(),
            timer_at: None,
            holds_until: None,
            reaches_store: true,
            packets: 0,
            question: None,
            spoke_at: None,
            woke: None,
        }
    }

    /// What a new process begins with. Its shell removes what its predecessor left.
    pub(super) fn reborn(&mut self, index: usize, setup: Setup) {
        *self = Node { reaches_store: self.reaches_store, packets: self.packets, ..Node::new(index, setup) };
    }

    pub(super) fn runs(&self) -> bool {
        self.process == Process::Running
    }

    pub(super) fn holds(&self, now: Moment) -> bool {
        self.holds_until.is_some_and(|until| now < until)
    }
}

/// Priorities 100, 110 and 120, advertisements every 100 ms.
fn router(index: usize, address: IpAddr, setup: Setup) -> Router {
    let config = RouterConfig {
        priority: 100 + 10 * index as u8,
        advert_interval: Duration::from_millis(100),
        preempt: setup.preempt,
        fenced: setup.fenced,
        ..RouterConfig::new(51, vec![IpAddr::from([10, 0, 0, 100])])
    };
    let router = Router::new(config, address).expect("a sound setup");
    let router = if setup.sleeper_check { router } else { router.without_sleeper_check() };
    if setup.reach_check { router } else { router.without_reach_check() }
}
