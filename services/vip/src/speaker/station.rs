//! One virtual router with its sockets: what happens goes into it, and what it says is done.

use super::Hands;
use crate::adverts::{Adverts, Audience, Received};
use crate::clock;
use crate::fence::Question;
use crate::keeper::Errand;
use crate::link::Link;
use crate::report::{Report, Standing};
use crate::settings::VirtualRouter;
use crate::spread::ASKING_PRIORITY;
use crate::vitals::Vitals;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use vrrp::{Effect, Event, Fence, Moment, Router, RouterConfig, State};

/// Packets that are read before the timer is looked at again: a flood must not keep a holder from speaking.
const PACKETS_PER_TURN_MAX: usize = 256;
/// How long a socket that fails is left alone.
const DEAF_PAUSE: Duration = Duration::from_millis(100);

/// One virtual router with its sockets.
pub(super) struct Station {
    index: usize,
    settings: VirtualRouter,
    config: RouterConfig,
    /// What health says.
    priority: u8,
    /// See [`Letter::Asking`](super::Letter::Asking).
    asking: bool,
    /// Exists while there is an interface to speak on.
    active: Option<Active>,
    /// The question that is open, by its number.
    serial: u64,
    told: Option<Standing>,
    hands: Hands,
    vitals: Arc<Vitals>,
}

struct Active {
    router: Router,
    adverts: Adverts,
    link: Link,
    /// When the holder was last heard.
    heard_at: Option<Moment>,
    /// The socket fails: it is not read before this, or a real-time thread would do nothing else.
    deaf_until: Option<Moment>,
}

impl Station {
    pub fn new(index: usize, settings: VirtualRouter, priority: u8, vitals: Arc<Vitals>, hands: Hands) -> Self {
        let config = settings.config(hands.questions.is_some());
        Self { index, settings, config, priority, asking: false, active: None, serial: 0, told: None, hands, vitals }
    }

    /// When it wants to be called again, packets apart.
    pub fn next_wake(&self) -> Option<Moment> {
        let active = self.active.as_ref()?;
        [active.router.deadline(), active.deaf_until].into_iter().flatten().min()
    }

    /// What to wait for; nothing without an interface, or while the socket fails.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        let active = self.active.as_ref()?;
        active.deaf_until.is_none().then(|| active.adverts.as_fd())
    }

    /// Starts, ends, or starts anew, so that the router speaks from what the interface has now.
    pub fn link_changed(&mut self, link: Option<Link>) {
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
                self.hands.reporter.tell(Report::Fault { router: self.index, fault: None });
                self.handle(Event::Start { now: clock::now() });
            }
            Err(fault) => self.hands.reporter.tell(Report::Fault { router: self.index, fault: Some(fault) }),
        }
    }

    fn begin(&self, link: Link, own: IpAddr) -> Result<Active, String> {
        let audience = Audience::of(&self.settings.unicast_peers);
        let adverts = Adverts::open(&link, own, audience).map_err(|error| format!("open sockets: {error}"))?;
        let mut router = Router::new(self.config.clone(), own).map_err(|error| error.to_string())?;
        router.handle(Event::PriorityChanged { now: clock::now(), priority: self.priority_now() });
        Ok(Active { router, adverts, link, heard_at: None, deaf_until: None })
    }

    /// The interface cannot be used any more.
    fn leave(&mut self, fault: Option<String>) {
        if self.active.is_some() {
            self.handle(Event::LinkDown { now: clock::now() });
            self.active = None;
        }
        if fault.is_some() {
            self.hands.reporter.tell(Report::Fault { router: self.index, fault });
        }
    }

    pub fn set_priority(&mut self, priority: u8) {
        self.priority = priority;
        self.priority_changed();
    }

    pub fn set_asking(&mut self, asking: bool) {
        self.asking = asking;
        self.priority_changed();
    }

    fn priority_changed(&mut self) {
        let priority = self.priority_now();
        self.handle(Event::PriorityChanged { now: clock::now(), priority });
    }

    /// Who is not ready asks in vain.
    fn priority_now(&self) -> u8 {
        let ready = self.priority == self.settings.priority;
        if self.asking && ready { ASKING_PRIORITY } else { self.priority }
    }

    pub fn fence_answered(&mut self, serial: u64, verdict: Fence) {
        // Of a question that was withdrawn, or asked anew since.
        if serial == self.serial {
            self.handle(Event::Fence { now: clock::now(), verdict });
        }
    }

    pub fn counted(&mut self, packets: u64) {
        self.handle(Event::Received { now: clock::now(), packets });
    }

    pub fn receive(&mut self) {
        if let Some(active) = &mut self.active
            && active.deaf_until.is_some_and(|until| clock::now() >= until)
        {
            active.deaf_until = None;
        }
        for _ in 0..PACKETS_PER_TURN_MAX {
            let Some(active) = &mut self.active else { return };
            if active.deaf_until.is_some() {
                return;
            }
            match active.adverts.receive() {
                Ok(Received::Nothing) => return,
                Ok(Received::Other) => {}
                Ok(Received::Refused { from, why }) => {
                    self.vitals.adverts_refused.add_one();
                    self.hands.reporter.problem(Some(self.index), format!("refuse an advertisement of {from}: {why}"));
                }
                Ok(Received::Advertisement { from, packet }) if packet.vrid == self.config.vrid => {
                    let now = clock::now();
                    if let Err(mismatch) = self.config.check(&packet) {
                        self.vitals.adverts_refused.add_one();
                        let what = format!("refuse an advertisement of {from}: {mismatch}");
                        self.hands.reporter.problem(Some(self.index), what);
                        continue;
                    }
                    if !self.config.same_addresses(&packet) {
                        let what = format!("{from} advertises other addresses: {:?}", packet.addresses);
                        self.hands.reporter.problem(Some(self.index), what);
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
                    active.deaf_until = Some(clock::now() + DEAF_PAUSE);
                    self.hands.reporter.problem(Some(self.index), format!("receive: {error}"));
                    return;
                }
            }
        }
    }

    /// The timer, when it is due.
    pub fn turn(&mut self) {
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

    pub fn handle(&mut self, event: Event) {
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
            Effect::CountReceived => self.errand(Errand::Count { router }),
            // The deadline is read from the router before each wait.
            Effect::SetTimer { .. } => {}
            Effect::AskFence { within } => {
                self.serial += 1;
                let (serial, priority) = (self.serial, self.priority_now());
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
                self.hands.reporter.tell(Report::Transition { router, from, to, cause });
            }
            Effect::Stay { state, cause } => self.hands.reporter.tell(Report::Stay { router, state, cause }),
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
                    self.hands.reporter.problem(Some(self.index), format!("send to {to}: {error}"));
                }
            }
        }
    }

    fn errand(&self, errand: Errand) {
        if !self.hands.keeper.send(errand) {
            self.hands.reporter.problem(Some(self.index), "the keeper takes no errands".to_owned());
        }
    }

    fn ask(&self, question: Question) {
        if let Some(questions) = &self.hands.questions {
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
            self.hands.reporter.tell(Report::Standing { router: self.index, standing });
        }
    }
}
