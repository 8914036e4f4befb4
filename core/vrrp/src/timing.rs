//! Every time of the crate: limits, defaults, and the two formulas of RFC 9568 §6.1.

use std::time::Duration;

use crate::{RouterConfig, Version};

/// How often a holder speaks (RFC 9568 §6.1: 1 s).
pub const DEFAULT_ADVERT_INTERVAL: Duration = Duration::from_secs(1);

/// The priority of a router that says none (RFC 9568 §6.1).
pub const DEFAULT_PRIORITY: u8 = 100;

/// The priority of the router whose own addresses these are (RFC 9568 §5.2.4).
pub const OWNER_PRIORITY: u8 = 255;

/// How many advertisements a backup misses before it takes over (RFC 9568 §6.1: 3; keepalived `down_timer_adverts`).
pub const DEFAULT_DOWN_TIMER_ADVERTS: u32 = 3;

/// The lifetime with which an address is added: the kernel drops it by itself when nobody renews it, also after
/// `kill -9` and while the process is stopped. The kernel counts whole seconds; 1 s would race with its own renewal.
pub const ADDRESS_LIFETIME: Duration = Duration::from_secs(2);

/// How often a holder renews its addresses: three renewals may fail before the kernel drops them.
pub const ADDRESS_REFRESH_INTERVAL: Duration = Duration::from_millis(500);

/// A backup asks the store one advertisement interval before it would take over, but not earlier than this: the answer is
/// there in time, and the question is rarely asked in vain.
pub const FENCE_LEAD_MAX: Duration = Duration::from_millis(500);

/// How often a holder asks the store whether it still is the holder.
pub const FENCE_CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// How long the answer of a store may take that was answering a moment ago. After that it counts as not to be asked.
pub const FENCE_ANSWER_MAX: Duration = Duration::from_secs(1);

/// How soon a refused backup that still hears nothing asks again (or one advertisement interval, if that is longer).
pub const FENCE_RETRY_MIN: Duration = Duration::from_millis(250);

/// After the store made a holder give up, it leaves a holder of lower priority alone for this time: preempting it again
/// at once would end the same way.
pub const PREEMPT_PAUSE_AFTER_FENCED: Duration = Duration::from_secs(10);

/// A holder whose interface received nothing for this long, and whom the store did not answer either, is cut off. Longer
/// than the second after which ARP and TCP ask again: on a network with a client, or with a neighbour who looks for the
/// store, something comes in every 1.25 s.
pub const ISOLATION_MAX: Duration = Duration::from_millis(1500);

/// How often a holder with a store reads how many packets its interface has received.
pub const RECEIVED_CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// A holder that hears one of lower priority for this long, while the store does not answer, is not heard. A neighbour
/// that is deaf has resigned by then: [`ISOLATION_MAX`] and two readings after it took over.
pub const UNHEARD_MAX: Duration = Duration::from_millis(2500);

/// The second burst of announcements, for switches and neighbours that missed the first (keepalived
/// `garp_master_delay`).
pub const DEFAULT_GARP_REPEAT_AFTER: Duration = Duration::from_secs(5);

/// Announcements in one burst (keepalived `garp_master_repeat`).
pub const DEFAULT_GARP_BURST: u8 = 5;

const _: () = assert!(ADDRESS_REFRESH_INTERVAL.as_millis() * 3 < ADDRESS_LIFETIME.as_millis());
const _: () = assert!(ISOLATION_MAX.as_millis() + 2 * RECEIVED_CHECK_INTERVAL.as_millis() < UNHEARD_MAX.as_millis());
const _: () = assert!(FENCE_LEAD_MAX.as_millis() <= FENCE_ANSWER_MAX.as_millis());

/// How long the addresses are without a holder when this router, or one like it, has to take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failover {
    /// The holder stops in an orderly way: the skew.
    pub orderly: Duration,
    /// The holder dies somewhere between two advertisements.
    pub typical: Duration,
    /// The holder dies right after an advertisement.
    pub worst: Duration,
}

/// How long two routers may both hold the addresses, by what is wrong with them. The simulation holds the state machine to
/// these; network delay and late timers come on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TwoHoldersMax {
    /// One of them is dead or not run: until it wakes, or the kernel drops its addresses.
    pub asleep: Duration,
    /// Both run, and of the better one's advertisements fewer than `down_timer_adverts` in a row are lost.
    pub heard: Duration,
    /// Both run and can ask the store, whatever they hear: the next check, and its answer.
    pub fenced: Option<Duration>,
    /// Both run, and the better one hears the other, is not heard, and cannot ask the store, though there is one.
    pub unheard: Option<Duration>,
}

impl RouterConfig {
    /// The bounds of the crate's documentation as numbers. When two holders run and neither is heard, and the store cannot
    /// be asked, there is no bound: that is plain VRRP.
    pub fn two_holders_max(&self) -> TwoHoldersMax {
        TwoHoldersMax {
            asleep: ADDRESS_LIFETIME,
            heard: self.advert_interval * self.down_timer_adverts,
            fenced: self.fenced.then_some(FENCE_CHECK_INTERVAL * 2),
            // The first advertisement that is heard may be so late, and the last as well.
            unheard: self.fenced.then_some(UNHEARD_MAX + self.advert_interval * self.down_timer_adverts * 2),
        }
    }

    /// How long a holder that receives nothing and cannot ask the store keeps the addresses; the skew of a backup comes on
    /// top until they are reachable again. `None`: without a store it keeps them, as VRRP does.
    pub fn isolated_max(&self) -> Option<Duration> {
        // The reading that first stands still comes up to an interval after the last packet, the last one as much later.
        self.fenced.then_some(ISOLATION_MAX + RECEIVED_CHECK_INTERVAL * 2)
    }
}

/// `Skew_Time`: lower priorities wait longer, so that the best backup is first.
pub(crate) fn skew(version: Version, priority: u8, interval: Duration) -> Duration {
    let unit = match version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => interval,
    };
    unit * (256 - u32::from(priority)) / 256
}

/// `Active_Down_Interval` for a holder that speaks every `interval`.
pub(crate) fn master_down(config: &RouterConfig, priority: u8, interval: Duration) -> Duration {
    interval * config.down_timer_adverts + skew(config.version, priority, interval)
}

/// After this silence of ours others may hold the addresses: the master-down time of a backup with the highest priority
/// there is, without its skew.
pub(crate) fn silence_bound(config: &RouterConfig) -> Duration {
    config.advert_interval * config.down_timer_adverts
}
