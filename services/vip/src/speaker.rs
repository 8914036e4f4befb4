//! The thread that speaks VRRP: it waits for packets, letters and the next deadline, hands them to each router
//! ([`vrrp::Router`]) and does what that says. It never waits for anything else: addresses are placed by the keeper, logs
//! and the store are others' work.

use crate::adverts::{Adverts, Audience, Received};
use crate::clock;
use crate::fence::Question;
use crate::keeper::Errand;
use crate::link::Link;
use crate::mailbox::{Mailbox, Sender};
use crate::report::{Report, Reporter, Standing};
use crate::settings::VirtualRouter;
use crate::vitals::Vitals;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::mpsc;
use vrrp::{Effect, Event, Fence, Moment, Router, RouterConfig, State};

/// Packets of one router that are read before its timer is looked at again: a flood must not keep it from speaking.
const PACKETS_PER_TURN_MAX: usize = 256;

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
    /// The answer to question number `serial`.
    Fence {
        router: usize,
        serial: u64,
        verdict: Fence,
    },
    Stop,
}

pub(crate) struct Speaker {
    stations: Vec<Station>,
    letters: Mailbox<Letter>,
}

/// One virtual router with its sockets.
struct Station {
    index: usize,
    settings: VirtualRouter,
    config: RouterConfig,
    priority: u8,
    /// Exists while there is an interface to speak on.
    active: Option<Active>,
    /// The question that is open, by its number.
    serial: u64,
    told: Option<Standing>,
    keeper: Sender<Errand>,
    questions: Option<mpsc::Sender<Question>>,
    reporter: Reporter,
    vitals: Arc<Vitals>,
}

struct Active {
    router: Router,
    adverts: Adverts,
    link: Link,
    /// When the holder was last heard.
    heard_at: Option<Moment>,
}

impl Speaker {
    pub fn new(
        routers: &[VirtualRouter],
        priorities: &[u8],
        vitals: &[Arc<Vitals>],
        letters: Mailbox<Letter>,
        keeper: &Sender<Errand>,
        questions: Option<&mpsc::Sender<Question>>,
        reporter: &Reporter,
    ) -> Self {
        let station = |(index, settings): (usize, &VirtualRouter)| Station {
            index,
            settings: settings.clone(),
            config: settings.config(questions.is_some()),
            priority: priorities[index],
            active: None,
            serial: 0,
            told: None,
            keeper: keeper.clone(),
            questions: questions.cloned(),
            reporter: reporter.clone(),
            vitals: vitals[index].clone(),
        };
        Self { stations: routers.iter().enumerate().map(station).collect(), letters }
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
        if let Some(station) = self.stations.first() {
            station.keeper.send(Errand::End);
        }
    }

    fn wait(&self) {
        let deadline = self.stations.iter().filter_map(|station| station.active.as_ref()?.router.deadline()).min();
        let timeout = deadline.map(|at| TimeSpec::from(at.saturating_sub(clock::now())));
        let mut ready = vec![PollFd::new(self.letters.as_fd(), PollFlags::POLLIN)];
        let sockets = self.stations.iter().filter_map(|station| station.active.as_ref());
        ready.extend(sockets.map(|active| PollFd::new(active.adverts.as_fd(), PollFlags::POLLIN)));
        match ppoll(&mut ready, timeout, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => {
                if let Some(station) = self.stations.first() {
                    station.reporter.problem(None, format!("wait for packets: {error}"));
                }
            }
        }
    }
}

impl Station {
    /// Starts, ends, or starts anew, so that the router speaks from what the interface has now.
    fn link_changed(&mut self, link: Option<Link>) {
        let floating = self.settings.floating();
        let own = link.as_ref().and_then(|link| link.primary(self.config.family, &floating));
        let fault = match (&link, own) {
            (None, _) => Some(format!("there is no interface {}", self.settings.interface)),
            (Some(link), _) if !link.running => Some(format!("{} is down", link.name)),
            (Some(link), None) => Some(format!("{} has no address of its own to speak from", link.name)),
            (Some(_), Some(_)) => None,
        };
        let (Some(link), Some(own), None) = (link, own, &fault) else { return self.leave(fault) };
        if let Some(active) = &mut self.active
            && active.adverts.own == own
            && active.link.index == link.index
        {
            active.link = link;
            return;
        }
        self.leave(None);
        match self.begin(link, own) {
            Ok(active) => {
                self.active = Some(active);
                self.reporter.tell(Report::Fault { router: self.index, fault: None });
                self.handle(Event::Start { now: clock::now() });
            }
            Err(fault) => self.reporter.tell(Report::Fault { router: self.index, fault: Some(fault) }),
        }
    }

    fn begin(&self, link: Link, own: std::net::IpAddr) -> Result<Active, String> {
        let audience = Audience::of(&self.settings.unicast_peers);
        let adverts = Adverts::open(&link, own, audience).map_err(|error| format!("open sockets: {error}"))?;
        let mut router = Router::new(self.config.clone(), own).map_err(|error| error.to_string())?;
        router.handle(Event::PriorityChanged { now: clock::now(), priority: self.priority });
        Ok(Active { router, adverts, link, heard_at: None })
    }

    /// The interface cannot be used any more.
    fn leave(&mut self, fault: Option<String>) {
        if self.active.is_some() {
            self.handle(Event::LinkDown { now: clock::now() });
            self.active = None;
        }
        if fault.is_some() {
            self.reporter.tell(Report::Fault { router: self.index, fault });
        }
    }

    fn set_priority(&mut self, priority: u8) {
        self.priority = priority;
        self.handle(Event::PriorityChanged { now: clock::now(), priority });
    }

    fn fence_answered(&mut self, serial: u64, verdict: Fence) {
        // Of a question that was withdrawn, or asked anew since.
        if serial == self.serial {
            self.handle(Event::Fence { now: clock::now(), verdict });
        }
    }

    fn receive(&mut self) {
        for _ in 0..PACKETS_PER_TURN_MAX {
            let Some(active) = &mut self.active else { return };
            match active.adverts.receive() {
                Ok(Received::Nothing) => return,
                Ok(Received::Other) => {}
                Ok(Received::Refused { from, why }) => {
                    self.vitals.adverts_refused.add_one();
                    self.reporter.problem(Some(self.index), format!("refuse an advertisement of {from}: {why}"));
                }
                Ok(Received::Advertisement { from, packet }) if packet.vrid == self.config.vrid => {
                    let now = clock::now();
                    if let Err(mismatch) = self.config.check(&packet) {
                        self.vitals.adverts_refused.add_one();
                        let what = format!("refuse an advertisement of {from}: {mismatch}");
                        self.reporter.problem(Some(self.index), what);
                        continue;
                    }
                    if !self.config.same_addresses(&packet) {
                        let what = format!("{from} advertises other addresses: {:?}", packet.addresses);
                        self.reporter.problem(Some(self.index), what);
                    }
                    self.vitals.adverts_received.add_one();
                    if let Some(before) = active.heard_at.replace(now) {
                        self.vitals.heard_lateness.note((now - before).saturating_sub(packet.interval));
                    }
                    self.handle(Event::Advertisement { now, from, packet });
                }
                // Another virtual router's, on the same interface.
                Ok(Received::Advertisement { .. }) => {}
                Err(error) => {
                    self.reporter.problem(Some(self.index), format!("receive: {error}"));
                    return;
                }
            }
        }
    }

    /// The timer, when it is due.
    fn turn(&mut self) {
        let now = clock::now();
        let Some(deadline) = self.active.as_ref().and_then(|active| active.router.deadline()) else { return };
        if now >= deadline {
            if self.is_active() {
                self.vitals.own_lateness.note(now - deadline);
            }
            self.handle(Event::Timer { now });
        }
    }

    fn is_active(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.router.state() == State::Active)
    }

    fn handle(&mut self, event: Event) {
        let Some(active) = &mut self.active else { return };
        let effects = active.router.handle(event);
        for effect in effects {
            self.act(effect);
        }
        self.tell_standing();
    }

    fn act(&mut self, effect: Effect) {
        let router = self.index;
        match effect {
            Effect::SendAdvertisement { priority } => self.send(priority),
            Effect::AddAddresses => self.errand(Errand::Place { router }),
            Effect::RemoveAddresses => self.errand(Errand::Remove { router }),
            Effect::Announce { burst } => self.errand(Errand::Announce { router, burst }),
            // The deadline is read from the router before each wait.
            Effect::SetTimer { .. } => {}
            Effect::AskFence { within } => {
                self.serial += 1;
                let Station { serial, priority, .. } = *self;
                self.ask(Question::Ask { router, serial, within, priority });
            }
            Effect::ReleaseFence => {
                self.serial += 1;
                self.ask(Question::Release { router });
            }
            Effect::Transition { from, to, cause } => {
                if let Some(active) = &mut self.active {
                    active.heard_at = None;
                }
                self.reporter.tell(Report::Transition { router, from, to, cause });
            }
            Effect::Stay { state, cause } => self.reporter.tell(Report::Stay { router, state, cause }),
        }
    }

    fn send(&self, priority: u8) {
        let Some(Active { adverts, .. }) = &self.active else { return };
        let advertisement = self.config.advertisement(priority);
        for to in adverts.destinations() {
            let bytes = vrrp::packet::encode(&advertisement, adverts.own, to, self.config.checksum);
            let sent = bytes.map_err(|error| error.to_string());
            match sent.and_then(|bytes| adverts.send(&bytes, to).map_err(|error| error.to_string())) {
                Ok(()) => self.vitals.adverts_sent.add_one(),
                Err(error) => {
                    self.vitals.sends_failed.add_one();
                    self.reporter.problem(Some(self.index), format!("send to {to}: {error}"));
                }
            }
        }
    }

    fn errand(&self, errand: Errand) {
        if !self.keeper.send(errand) {
            self.reporter.problem(Some(self.index), "the keeper takes no errands".to_owned());
        }
    }

    fn ask(&self, question: Question) {
        if let Some(questions) = &self.questions {
            // Full or ended: no answer will come, which the router reads as a store that cannot be asked.
            let _ = questions.try_send(question);
        }
    }

    fn tell_standing(&mut self) {
        let Some(active) = &self.active else { return };
        let router = &active.router;
        let failover = router.expected_failover();
        let standing = Standing {
            state: router.state(),
            priority: router.priority(),
            heard: router.heard().map(|heard| (heard.from, heard.priority)),
            fence: router.fence().cloned(),
            failover_typical: failover.typical,
            failover_worst: failover.worst,
            failover_orderly: failover.orderly,
        };
        self.vitals.priority.store(standing.priority, Relaxed);
        if self.told.as_ref() != Some(&standing) {
            self.told = Some(standing.clone());
            self.reporter.tell(Report::Standing { router: self.index, standing });
        }
    }
}
