//! One rule of the state machine per test. Times are in milliseconds; the router under test is 10.0.0.2.

mod fence;
mod reach;
mod rules;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::{Advertisement, Cause, Effect, Event, Fence, Moment, Router, RouterConfig, State};

const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const LOWER_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const HIGHER_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3));
const INTERVAL_MS: u64 = 100;
/// 3 × 100 ms + (256 − 100) / 256 × 100 ms, rounded up: the moment at which a backup with priority 100 takes over.
const DOWN_MS: u64 = 361;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn config() -> RouterConfig {
    let addresses = vec![IpAddr::from([10, 0, 0, 100])];
    RouterConfig { advert_interval: ms(INTERVAL_MS), ..RouterConfig::new(51, addresses) }
}

/// A router and the way a shell would drive it: every timer fires on time.
struct Scene {
    router: Router,
    now: Moment,
}

impl Scene {
    /// Started at 0.
    fn started(config: RouterConfig) -> Scene {
        let mut scene = Scene { router: Router::new(config, OURS).expect("a sound setup"), now: Moment::ZERO };
        scene.router.handle(Event::Start { now: Moment::ZERO });
        scene
    }

    /// Started at 0, and the holder since [`DOWN_MS`].
    fn active(config: RouterConfig) -> Scene {
        let mut scene = Scene::started(config);
        scene.until(DOWN_MS);
        assert_eq!(scene.router.state(), State::Active);
        scene
    }

    /// Fires the timers up to and including this millisecond.
    fn until(&mut self, end: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(at) = self.router.deadline().filter(|&at| at <= ms(end)) {
            effects.extend(self.router.handle(Event::Timer { now: at }));
        }
        self.now = ms(end);
        effects
    }

    /// An advertisement now.
    fn hear(&mut self, from: IpAddr, priority: u8) -> Vec<Effect> {
        let packet = self.router.config().advertisement(priority);
        self.hear_packet(from, packet)
    }

    fn hear_packet(&mut self, from: IpAddr, packet: Advertisement) -> Vec<Effect> {
        self.router.handle(Event::Advertisement { now: self.now, from, packet })
    }

    fn received(&mut self, packets: u64) -> Vec<Effect> {
        self.router.handle(Event::Received { now: self.now, packets })
    }

    fn hand_over(&mut self) -> Vec<Effect> {
        self.router.handle(Event::HandOver { now: self.now, to: "n9".to_owned() })
    }

    fn verdict(&mut self, verdict: Fence) -> Vec<Effect> {
        self.router.handle(Event::Fence { now: self.now, verdict })
    }

    /// A timer that comes at this millisecond, whatever was due before.
    fn late_timer(&mut self, at: u64) -> Vec<Effect> {
        self.now = ms(at);
        self.router.handle(Event::Timer { now: ms(at) })
    }

    fn state(&self) -> State {
        self.router.state()
    }
}

/// The causes of all transitions, in order.
fn causes(effects: &[Effect]) -> Vec<Cause> {
    let cause = |effect: &Effect| match effect {
        Effect::Transition { cause, .. } => Some(cause.clone()),
        _ => None,
    };
    effects.iter().filter_map(cause).collect()
}

fn advertisements(effects: &[Effect]) -> Vec<u8> {
    let priority = |effect: &Effect| match effect {
        Effect::SendAdvertisement { priority } => Some(*priority),
        _ => None,
    };
    effects.iter().filter_map(priority).collect()
}

fn announcements(effects: &[Effect]) -> Vec<u8> {
    let burst = |effect: &Effect| match effect {
        Effect::Announce { burst } => Some(*burst),
        _ => None,
    };
    effects.iter().filter_map(burst).collect()
}
