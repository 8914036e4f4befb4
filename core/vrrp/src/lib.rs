//! What holds a floating address: VRRP packets, announcements and the state machine. Pure: no socket, no clock, no
//! randomness. `services/vip` is the shell around it.
//!
//! # What it does
//!
//! Several nodes can serve one address; one of them, the *holder* (RFC 9568's "Active router"), has it on its interface
//! and says so a few times per second. The others, the *backups*, listen. When the holder falls silent, the backup with
//! the highest priority adds the address and tells the neighbours where it lives now. That is VRRP (RFC 3768, RFC 9568),
//! and keepalived's routers understand ours. A [`Router`] is that state machine as a function: an [`Event`] comes in with
//! the moment at which it is handled, [`Effect`]s leave as data.
//!
//! ```text
//!                       Start                      silence, resignation, preemption
//!   ┌────────────┐ ───────────────▶ ┌────────┐ ──────────────────────────────────▶ ┌────────┐
//!   │ Initialize │                  │ Backup │                                     │ Active │
//!   └────────────┘ ◀─────────────── └────────┘ ◀────────────────────────────────── └────────┘
//!        ▲             Stop, LinkDown           a better holder, slept, fenced, unfit    │
//!        └───────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A shell is a loop: wait for a packet, the timer or an answer; hand it over; do what comes back.
//!
//! ```
//! use std::net::IpAddr;
//! use std::time::Duration;
//! use vrrp::{Effect, Event, Router, RouterConfig, State};
//!
//! let address = IpAddr::from([192, 0, 2, 100]);
//! let config = RouterConfig { advert_interval: Duration::from_millis(100), ..RouterConfig::new(51, vec![address]) };
//! let mut router = Router::new(config, IpAddr::from([192, 0, 2, 1]))?;
//! router.handle(Event::Start { now: Duration::ZERO });
//!
//! // Nobody is heard, so the timer comes: three intervals and the skew of priority 100.
//! let effects = router.handle(Event::Timer { now: router.deadline().expect("a backup waits") });
//! assert_eq!(router.state(), State::Active);
//! let Effect::Transition { cause, .. } = &effects[0] else { panic!("the change comes first") };
//! assert_eq!(cause.to_string(), "heard no holder for 360 ms");
//! assert!(effects.contains(&Effect::AddAddresses));
//! # Ok::<(), vrrp::ConfigError>(())
//! ```
//!
//! # How quick it is
//!
//! With `I` the interval, `A` the advertisements that may be missed (3) and `P` the priority of the backup:
//!
//! | the holder | the addresses are without one for |
//! |---|---|
//! | stops in an orderly way | `skew = (256 − P) / 256 × I` |
//! | dies | at most `A × I + skew`; half an interval less on average |
//!
//! At 100 ms and priority 100 that is 61 ms and 361 ms. [`Router::expected_failover`] says it for a given router.
//!
//! # What goes beyond VRRP
//!
//! **Addresses that expire.** [`Effect::AddAddresses`] gives them a lifetime of [`ADDRESS_LIFETIME`] and comes again every
//! [`ADDRESS_REFRESH_INTERVAL`]: the kernel drops the addresses of a process that was killed or stopped.
//!
//! **The sleeper check.** A holder that said nothing for `A × I` may have been replaced, whatever it believes. Before it
//! handles the next event it gives up, says nothing, and listens ([`Cause::Slept`]). A backup whose timer comes a whole
//! interval late listens once more before it believes the silence ([`Cause::Overslept`]).
//!
//! **The fence.** Silence may be ours: when packets are lost in one direction only, plain VRRP ends with two holders. So a
//! backup asks the store before it replaces a *silent* holder ([`Effect::AskFence`]), and a holder asks every
//! [`FENCE_CHECK_INTERVAL`]. By the store's word there is one holder. The question is asked one interval before the
//! takeover, and an answer that is not there in time counts as [`Fence::Unknown`], so a fenced takeover is never later
//! than a plain one; only after a refusal, when the holder was alive a moment ago, is the store given
//! [`FENCE_ANSWER_MAX`]. A store that cannot be asked leaves plain VRRP.
//!
//! **Cut off in one direction.** A *deaf* holder is heard by the backups, but its clients reach nobody; a *mute* one is
//! replaced, but hears nobody better. Neither can ask the store, and neither notices in plain VRRP. Where there is a store to
//! ask, a holder whom it does not answer gives up, and resigns, after [`ISOLATION_MAX`] in which its interface received
//! nothing at all ([`Effect::CountReceived`], [`Cause::Isolated`]), and after [`UNHEARD_MAX`] in which a worse holder did
//! not give way ([`Cause::Unheard`]). A lone survivor hears its clients and keeps the addresses.
//!
//! **Handing over.** Every move of the addresses breaks the connections to them, so whoever cares sets
//! [`RouterConfig::preempt`] to false: a better router that comes (back) then takes nothing from one that serves. A holder
//! that is *asked* ([`Event::HandOver`]) resigns and keeps its priority: the best of the others has the addresses after its
//! skew, and if nobody comes it has them back. Who asks, and when, is not decided here.
//!
//! **Causes.** Every transition carries a [`Cause`] that reads as a sentence.
//!
//! # How long there can be two holders
//!
//! | what is wrong | both hold the addresses for at most |
//! |---|---|
//! | one of them is dead, or is not run | [`ADDRESS_LIFETIME`], and not longer than it sleeps |
//! | both run; of the better one's advertisements fewer than `A` in a row are lost | `A × I` |
//! | both run and can ask the store, whatever they hear | `2 ×` [`FENCE_CHECK_INTERVAL`]: the next check, and its answer |
//! | both run, and the better one hears the other, is not heard, and cannot ask the store | [`UNHEARD_MAX`]` + 2 × A × I` |
//! | both run, neither is heard, the store cannot be asked, yet something is received | no bound: plain VRRP |
//!
//! The bounds count from the moment at which the row began to be true; timers that fire late and the delay of the network
//! come on top. So after any pause or death, and with a store, there is one holder again after no more than
//! [`ADDRESS_LIFETIME`]` + 2 × `[`FENCE_CHECK_INTERVAL`]. A holder that receives nothing and cannot ask the store holds
//! on for at most [`ISOLATION_MAX`]` + 2 × `[`RECEIVED_CHECK_INTERVAL`], and a backup needs its skew on top.
//! [`RouterConfig::two_holders_max`] and [`RouterConfig::isolated_max`] have the numbers; a seeded
//! simulation of three routers (`simulation`, in the tests) holds the state machine to them under loss, delay, one-way loss,
//! pauses, deaths and a store that comes and goes.
//!
//! # What the shell owes
//!
//! - Waiting advertisements are handed over before the timer: they may be what it waits for.
//! - Moments are read when an event is handled, from a clock that runs on while the machine is suspended.
//! - At its start it removes the addresses that a killed predecessor left.
//! - The store's verdict is about the living. A lease alone cannot tell a dead holder from a living one in the third of a
//!   second that a takeover may last; so the node that the record names is *challenged*. If it answers that its router is
//!   in [`State::Active`], the verdict is [`Fence::Refused`]; if it says nothing, the record is taken over by comparing
//!   revisions, within the time that [`Effect::AskFence`] grants, and the verdict is [`Fence::Granted`].
//! - After [`Effect::ReleaseFence`] no answer to an earlier question may come.
//!
//! # Reading order
//!
//! `event` (what comes in, what leaves), `config`, `timing` (every limit, and why), `router` with `router/backup` and
//! `router/active`, `router/reach`, `cause`; then `packet` and `announce`, the bytes. The rules of the state machine, one test each, are
//! `router/tests/rules.rs`, `router/tests/fence.rs` and `router/tests/reach.rs`.

pub mod announce;
mod cause;
mod config;
mod event;
pub mod packet;
mod router;
#[cfg(test)]
mod simulation;
mod timing;

pub use cause::{Cause, FenceWord};
pub use config::{ConfigError, GarpPolicy, Mismatch, RouterConfig};
pub use event::{Effect, Event, Fence, Moment, State};
pub use packet::{Advertisement, Checksum, Family, Password, Version};
pub use router::{Heard, Router};
pub use timing::*;
