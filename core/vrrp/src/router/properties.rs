//! What holds after any sequence of events, at any pace.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;

use crate::timing::silence_bound;
use crate::{Cause, Effect, Event, Fence, ISOLATION_MAX, Moment, Router, RouterConfig, State};

#[derive(Debug, Clone)]
enum Step {
    Start,
    Stop,
    LinkDown,
    HandOver,
    Hear {
        neighbour: u8,
        priority: u8,
    },
    /// On time, plus a delay.
    Timer {
        late_ms: u64,
    },
    Priority(u8),
    Verdict(Fence),
    /// A reading of the interface's counter, so much above the last.
    Received {
        more: u64,
    },
    Wait {
        ms: u64,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    let verdict =
        prop_oneof![Just(Fence::Granted), Just(Fence::Unknown), Just(Fence::Refused { holder: "n9".to_owned() }),];
    prop_oneof![
        2 => Just(Step::Start),
        1 => Just(Step::Stop),
        1 => Just(Step::LinkDown),
        1 => Just(Step::HandOver),
        4 => (1..=3_u8, prop_oneof![Just(0), Just(99), Just(100), Just(101), any::<u8>()])
            .prop_map(|(neighbour, priority)| Step::Hear { neighbour, priority }),
        8 => prop_oneof![4 => Just(0), 1 => 0..1_000_u64].prop_map(|late_ms| Step::Timer { late_ms }),
        1 => prop_oneof![Just(0), any::<u8>()].prop_map(Step::Priority),
        3 => verdict.prop_map(Step::Verdict),
        4 => prop_oneof![3 => Just(0), 1 => 1..9_u64].prop_map(|more| Step::Received { more }),
        3 => (0..400_u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

prop_compose! {
    fn any_config()(
        priority in prop_oneof![Just(100), Just(255), 1..=254_u8],
        preempt in any::<bool>(),
        preempt_delay_ms in prop_oneof![Just(0), 0..2_000_u64],
        fenced in any::<bool>(),
    ) -> RouterConfig {
        let preempt_delay = Duration::from_millis(preempt_delay_ms);
        let advert_interval = Duration::from_millis(100);
        let addresses = vec![IpAddr::from([10, 0, 0, 100])];
        RouterConfig { priority, preempt, preempt_delay, fenced, advert_interval, ..RouterConfig::new(51, addresses) }
    }
}

/// What an observer of the effects knows.
struct Observer {
    router: Router,
    now: Moment,
    has_addresses: bool,
    timer: Option<Moment>,
    spoke_at: Moment,
    asked: bool,
    packets: u64,
    /// The last that came in, or the store's last answer.
    sign_at: Moment,
    /// Gave up for want of signs; true until the next one.
    isolated: bool,
}

impl Observer {
    fn event(&self, step: Step) -> Event {
        let now = self.now;
        match step {
            Step::Start => Event::Start { now },
            Step::Stop => Event::Stop { now },
            Step::LinkDown => Event::LinkDown { now },
            Step::HandOver => Event::HandOver { now, to: "n9".to_owned() },
            Step::Hear { neighbour, priority } => {
                let packet = self.router.config().advertisement(priority);
                Event::Advertisement { now, from: IpAddr::from([10, 0, 0, neighbour]), packet }
            }
            Step::Timer { .. } | Step::Wait { .. } => Event::Timer { now },
            Step::Priority(priority) => Event::PriorityChanged { now, priority },
            Step::Verdict(verdict) => Event::Fence { now, verdict },
            Step::Received { .. } => Event::Received { now, packets: self.packets },
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Wait { ms } => {
                self.now += Duration::from_millis(ms);
                return Ok(());
            }
            Step::Timer { late_ms } => {
                let Some(at) = self.router.deadline() else { return Ok(()) };
                self.now = self.now.max(at) + Duration::from_millis(late_ms);
            }
            Step::Received { more } => self.packets += more,
            _ => {}
        }
        self.note_sign(&step);
        let event = self.event(step);
        let before = self.router.state();
        let effects = self.router.handle(event.clone());
        self.observe(&event, before, &effects)
    }

    fn note_sign(&mut self, step: &Step) {
        let sign = match step {
            Step::Received { more } => *more > 0,
            Step::Hear { neighbour, .. } => *neighbour != 2,
            Step::Verdict(verdict) => *verdict != Fence::Unknown,
            Step::Start => self.router.state() == State::Initialize,
            _ => false,
        };
        if sign {
            self.sign_at = self.now;
            self.isolated = false;
        }
    }

    fn observe(&mut self, event: &Event, before: State, effects: &[Effect]) -> Result<(), TestCaseError> {
        let mut state = before;
        for (index, effect) in effects.iter().enumerate() {
            match effect {
                Effect::Transition { from, to, cause } => {
                    prop_assert_eq!(*from, state);
                    prop_assert_ne!(from, to, "a transition changes the state");
                    state = *to;
                    if *to == State::Active {
                        prop_assert!(!self.isolated, "cut off, and the holder again");
                        self.spoke_at = self.now;
                    }
                    if matches!(cause, Cause::Isolated { .. }) {
                        prop_assert!(self.router.config().fenced, "plain VRRP keeps the addresses");
                        prop_assert!(self.now - self.sign_at >= ISOLATION_MAX, "gave up with signs of life");
                        let resigns = effects.contains(&Effect::SendAdvertisement { priority: 0 });
                        prop_assert!(resigns, "the backups are not told");
                        self.isolated = true;
                    }
                }
                Effect::SendAdvertisement { priority: 0 } => {
                    prop_assert!(!self.has_addresses, "resigns with the addresses still there");
                    prop_assert!(before == State::Active, "resigns what it does not hold");
                }
                Effect::SendAdvertisement { priority } => {
                    prop_assert_eq!(state, State::Active, "only a holder speaks");
                    prop_assert_eq!(*priority, self.router.priority());
                    let silence = self.now - self.spoke_at;
                    prop_assert!(silence < silence_bound(self.router.config()), "speaks after {:?}", silence);
                    self.spoke_at = self.now;
                }
                Effect::AddAddresses => {
                    prop_assert_eq!(state, State::Active);
                    self.has_addresses = true;
                }
                Effect::RemoveAddresses => self.has_addresses = false,
                Effect::Announce { .. } => prop_assert!(self.has_addresses, "announces what it does not have"),
                Effect::SetTimer { at } => {
                    prop_assert_eq!(index, effects.len() - 1, "one timer, at the end");
                    self.timer = Some(*at);
                }
                Effect::AskFence { within } => {
                    prop_assert!(self.router.config().fenced);
                    prop_assert!(*within > Duration::ZERO);
                    self.asked = true;
                }
                Effect::CountReceived => prop_assert!(self.router.config().fenced),
                Effect::ReleaseFence => self.asked = false,
                Effect::Stay { state: stays, .. } => prop_assert_eq!(*stays, State::Backup),
            }
        }
        prop_assert_eq!(state, self.router.state(), "every change is told");
        prop_assert_eq!(self.has_addresses, state == State::Active, "the addresses are there exactly for a holder");
        if state == State::Initialize {
            prop_assert!(!self.asked, "a question is left behind");
            prop_assert_eq!(self.router.deadline(), None);
        } else {
            prop_assert!(self.router.deadline().is_some(), "nothing will ever happen again");
            prop_assert_eq!(self.router.deadline(), self.timer, "the shell's timer is the router's deadline");
        }
        if matches!(event, Event::Timer { .. }) && state != State::Initialize {
            prop_assert!(self.router.deadline() > Some(self.now), "a timer that fires for ever");
        }
        if before == State::Active && matches!(event, Event::Stop { .. } | Event::HandOver { .. }) {
            let resigned = effects.contains(&Effect::SendAdvertisement { priority: 0 });
            let slept = self.now - self.spoke_at >= silence_bound(self.router.config());
            prop_assert!(resigned || slept, "left without a word");
        }
        if self.router.priority() == 0 {
            prop_assert_ne!(state, State::Active, "unfit and the holder");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn any_sequence_of_events_keeps_the_rules(
        config in any_config(),
        steps in prop::collection::vec(any_step(), 1..150),
    ) {
        let router = Router::new(config, IpAddr::from([10, 0, 0, 2])).expect("a sound setup");
        let (now, timer, spoke_at) = (Moment::ZERO, None, Moment::ZERO);
        let (has_addresses, asked, packets, sign_at, isolated) = (false, false, 0, Moment::ZERO, false);
        let mut observer =
            Observer { router, now, timer, spoke_at, has_addresses, asked, packets, sign_at, isolated };
        observer.step(Step::Start)?;
        for step in steps {
            observer.step(step)?;
        }
    }
}
