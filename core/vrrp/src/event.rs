//! What comes into a [`Router`](crate::Router) and what leaves it.

use std::net::IpAddr;
use std::time::Duration;

use crate::{Advertisement, Cause};

/// A moment, as the time since an arbitrary start. The shell reads it from a clock that goes on while the machine is
/// suspended (`CLOCK_BOOTTIME`): else a laptop's lid would hide a sleep from the sleeper check.
pub type Moment = Duration;

/// The states of RFC 9568 §6.3, by its names. (RFC 3768 and keepalived call `Active` "master".)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Takes no part: not started, stopped, or its link is down.
    Initialize,
    /// Listens to the holder, ready to take its place.
    Backup,
    /// Holds the addresses.
    Active,
}

/// What the store says about who holds the addresses. See the crate's documentation for how a shell finds out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fence {
    /// The store's record names us from now on (or still).
    Granted,
    /// The record names another node, which is alive by the store's word *and* still holds.
    Refused { holder: String },
    /// The store cannot be asked, or nobody may say: what follows is plain VRRP.
    Unknown,
}

/// What happened. Every event carries the moment at which it is handled, never when it was queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Take part: the link is up, the sockets are open.
    Start { now: Moment },
    /// An advertisement came in from `from` (the IP source address). Decoded by [`crate::packet::decode`].
    Advertisement { now: Moment, from: IpAddr, packet: Advertisement },
    /// The deadline of the last [`Effect::SetTimer`] has come. Hand over waiting advertisements first.
    Timer { now: Moment },
    /// Health or an operator gives the router another priority. 0: unfit, it must not hold the addresses at all.
    PriorityChanged { now: Moment, priority: u8 },
    /// The answer to [`Effect::AskFence`]; to a holder it may also come unasked.
    Fence { now: Moment, verdict: Fence },
    /// The answer to [`Effect::CountReceived`]: all packets that the interface has received so far, whatever they were. The
    /// counter may start anew.
    Received { now: Moment, packets: u64 },
    /// The interface is down: nothing can be sent, nothing will be heard. [`Event::Start`] when it is back.
    LinkDown { now: Moment },
    /// Resign in favour of a better placed node, and stay as a backup. Only a holder heeds it.
    HandOver { now: Moment, to: String },
    /// Leave in an orderly way.
    Stop { now: Moment },
}

impl Event {
    pub fn now(&self) -> Moment {
        match *self {
            Event::Start { now }
            | Event::Advertisement { now, .. }
            | Event::Timer { now }
            | Event::PriorityChanged { now, .. }
            | Event::Fence { now, .. }
            | Event::Received { now, .. }
            | Event::LinkDown { now }
            | Event::HandOver { now, .. }
            | Event::Stop { now } => now,
        }
    }
}

/// What the shell has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send [`crate::RouterConfig::advertisement`] with this priority to the group or to every unicast peer.
    SendAdvertisement { priority: u8 },
    /// Add each address with a lifetime of [`crate::ADDRESS_LIFETIME`]; one that is there gets its lifetime renewed.
    /// Comes at the takeover and then every [`crate::ADDRESS_REFRESH_INTERVAL`], so an address removed by hand returns.
    AddAddresses,
    /// Remove each address now.
    RemoveAddresses,
    /// Send `burst` gratuitous ARPs or unsolicited Neighbor Advertisements for each address.
    Announce { burst: u8 },
    /// Send [`Event::Timer`] at this moment. Replaces the timer before it.
    SetTimer { at: Moment },
    /// Ask the store who holds the addresses and try to become it; a holder renews its record so. An answer after
    /// `within` is of little use: the shell may give up then, and says [`Fence::Unknown`] or nothing.
    AskFence { within: Duration },
    /// Withdraw an open question (its answer must not come any more) and give the record back if it names us.
    ReleaseFence,
    /// Read the interface's counter of received packets, and say [`Event::Received`]. No answer is no news.
    CountReceived,
    /// The state changed. For the log, the status, the metrics.
    Transition { from: State, to: State, cause: Cause },
    /// The state did not change though it was about to. Said once per episode, for the log.
    Stay { state: State, cause: Cause },
}
