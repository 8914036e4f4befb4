//! The thread that speaks VRRP: it waits for packets, letters and the next deadline, hands them to each router
//! ([`vrrp::Router`]) and does what that says. It never waits for anything else: addresses are placed by the keeper, logs
//! and the store are others' work.

mod station;

use crate::clock;
use crate::fence::Question;
use crate::keeper::Errand;
use crate::link::Link;
use crate::mailbox::{Mailbox, Sender};
use crate::report::Reporter;
use crate::settings::VirtualRouter;
use crate::vitals::Vitals;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use station::Station;
use std::os::fd::AsFd;
use std::sync::Arc;
use tokio::sync::mpsc;
use vrrp::{Event, Fence};

/// What the speaker is told; `router` counts as in the configuration.
#[derive(Debug)]
pub(crate) enum Letter {
    /// An interface as it is now.
    Link {
        router: usize,
        link: Option<Link>,
    },
    /// Health or an operator wants another priority (0: give the addresses up).
    Priority {
        router: usize,
        priority: u8,
    },
    /// Whether this node asks for the addresses: then it is the first when the holder resigns.
    Asking {
        router: usize,
        asking: bool,
    },
    /// Another node asked for the addresses.
    HandOver {
        router: usize,
        to: String,
    },
    /// How many packets its interface has received.
    Received {
        router: usize,
        packets: u64,
    },
    /// The answer to question number `serial`.
    Fence {
        router: usize,
        serial: u64,
        verdict: Fence,
    },
    Stop,
}

/// Whom a router's wishes go to.
#[derive(Clone)]
pub(crate) struct Hands {
    pub keeper: Sender<Errand>,
    /// The fence, if there is one.
    pub questions: Option<mpsc::Sender<Question>>,
    pub reporter: Reporter,
}

pub(crate) struct Speaker {
    stations: Vec<Station>,
    letters: Mailbox<Letter>,
    hands: Hands,
}

impl Speaker {
    /// `priorities` are those to begin with, `vitals` where to count; both one for each router.
    pub fn new(
        routers: &[VirtualRouter],
        priorities: &[u8],
        vitals: &[Arc<Vitals>],
        letters: Mailbox<Letter>,
        hands: Hands,
    ) -> Self {
        let each = routers.iter().zip(priorities).zip(vitals).enumerate();
        let station = |(index, ((settings, priority), vitals)): (usize, ((&VirtualRouter, &u8), &Arc<Vitals>))| {
            Station::new(index, settings.clone(), *priority, vitals.clone(), hands.clone())
        };
        Self { stations: each.map(station).collect(), letters, hands: hands.clone() }
    }

    /// Until [`Letter::Stop`].
    pub fn run(mut self) {
        loop {
            self.wait();
            while let Some(letter) = self.letters.next() {
                match letter {
                    Letter::Stop => return self.stop(),
                    Letter::Link { router, link } => self.station(router, |station| station.link_changed(link)),
                    Letter::Priority { router, priority } => {
                        self.station(router, |station| station.set_priority(priority));
                    }
                    Letter::Asking { router, asking } => {
                        self.station(router, |station| station.set_asking(asking));
                    }
                    Letter::HandOver { router, to } => {
                        self.station(router, |station| station.handle(Event::HandOver { now: clock::now(), to }));
                    }
                    Letter::Received { router, packets } => {
                        self.station(router, |station| station.counted(packets));
                    }
                    Letter::Fence { router, serial, verdict } => {
                        self.station(router, |station| station.fence_answered(serial, verdict));
                    }
                }
            }
            // Packets first: what came while the machine was busy may say that the holder lives.
            for station in &mut self.stations {
                station.receive();
                station.turn();
            }
        }
    }

    fn station(&mut self, router: usize, act: impl FnOnce(&mut Station)) {
        if let Some(station) = self.stations.get_mut(router) {
            act(station);
        }
    }

    fn stop(&mut self) {
        for station in &mut self.stations {
            station.handle(Event::Stop { now: clock::now() });
        }
        // In a queue with what was sent before.
        self.hands.keeper.send(Errand::End);
    }

    fn wait(&self) {
        let deadline = self.stations.iter().filter_map(Station::next_wake).min();
        let timeout = deadline.map(|at| TimeSpec::from(at.saturating_sub(clock::now())));
        let mut ready = vec![PollFd::new(self.letters.as_fd(), PollFlags::POLLIN)];
        let sockets = self.stations.iter().filter_map(Station::socket);
        ready.extend(sockets.map(|socket| PollFd::new(socket, PollFlags::POLLIN)));
        match ppoll(&mut ready, timeout, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => self.hands.reporter.problem(None, format!("wait for packets: {error}")),
        }
    }
}
