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
//! # What goes beyond VRRP
//!
//! **Addresses that expire.** [`Effect::AddAddresses`] gives them a lifetime of [`ADDRESS_LIFETIME`] and comes again every
//! [`ADDRESS_REFRESH_INTERVAL`]: the kernel drops the addresses of a process that was killed or stopped.
//!
//! **The sleeper check.** A holder that said nothing for as long as backups wait has been replaced, whatever it believes.
//! Before it handles the next event it gives up, says nothing, and listens ([`Cause::Slept`]). A backup whose timer comes
//! a whole interval late listens once more before it believes the silence ([`Cause::Overslept`]).
//!
//! **The fence.** Silence may be ours: when a cable or a filter loses packets in one direction only, plain VRRP ends with two
//! holders. So a backup asks the store before it replaces a *silent* holder ([`Effect::AskFence`]), and a holder asks every
//! [`FENCE_CHECK_INTERVAL`]. By the store's word there is one holder; a store that cannot be asked leaves plain VRRP.
//!
//! **Causes.** Every transition carries a [`Cause`] that reads as a sentence.
//!
//! # What the shell owes the fence
//!
//! The store holds one record per virtual router that names a node. A lease alone cannot tell a dead holder from a living
//! one in the third of a second that a takeover may last, so the question is a *challenge*:
//!
//! 1. The candidate reads the record. None, or its own: it writes itself by compare-and-swap: [`Fence::Granted`].
//! 2. Another node's: the candidate writes a challenge beside it. The recorded node watches for challenges and, if its
//!    router is in [`State::Active`], answers by writing its record anew. An answer is [`Fence::Refused`].
//! 3. No answer until a little before `within` has passed: the candidate replaces the record, comparing the revision that
//!    it read: [`Fence::Granted`]; if the comparison fails, [`Fence::Refused`].
//! 4. The store does not answer at all: [`Fence::Unknown`], or nothing.
//!
//! For a holder that asks it is the same question, but it stops at the first step unless the record names another node. The
//! lease on the record only tidies up. [`Effect::ReleaseFence`] deletes the record if it names this node and withdraws an
//! open question: no answer to it may come afterwards.
//!
//! # Reading order
//!
//! `event` (what comes in, what leaves), `config`, `timing` (every limit, and why), `router` with `router/backup` and
//! `router/active`, `cause`; then `packet` and `announce`, the bytes.

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
pub use packet::{Advertisement, Checksum, Family, Version};
pub use router::{Heard, Router};
pub use timing::*;
