//! The history of the routes: each revision of the store that changed what people own of them, with what was there before and
//! after, so that it can be told and taken back.
//!
//! ```text
//! store ── three watches ──▶ keeper ──▶ /roadstead/history/<revision> (bounded)
//!                                              │
//! `route history` ◀── the API ─────────────────┤
//! `route rollback` ─▶ snapshot ─▶ rollback (pure: what was there then) ─▶ one transaction
//! ```
//!
//! # What is kept
//! | key | |
//! |---|---|
//! | below `/vulcand/` and `vulcand/` | each change, but for what lives on a lease: heartbeats come and go by themselves |
//! | `/roadstead/routes/<id>` | each change of a document that people wrote |
//! | `/roadstead/routes/app.*`, `platform.*` | the controller's own: changes of anything but servers, told without them |
//!
//! Tasks that come and go by the hundred thus push nobody's changes out. A put of what is there already is no change.
//! Private keys are as they are in the store: sealed.
//!
//! Servers below vulcand's backends are kept, too, but are more often a program's than a person's (`sync`, `vctl`): they are
//! the first to go, lists leave out what has nothing else, and a rollback leaves them alone unless it is told otherwise.
//!
//! A leader that takes over goes on from the last revision that was kept ([`Position`]); what the store has compacted
//! meanwhile is kept as a gap, and told.

mod keeper;
mod record;
mod rollback;
mod snapshot;
mod store;

pub(crate) use keeper::keep;
pub(crate) use record::{Change, Record};
pub(crate) use rollback::{Refusal, Scope};
pub(crate) use snapshot::Done;
#[cfg(test)]
pub(crate) use store::Position;
pub(crate) use store::{History, Limits, Past, WriteError};

/// What is kept at most. (A record stays below what the store takes at once.)
pub(crate) const LIMITS: Limits = Limits { records: 1_000, bytes: 16 << 20, record_bytes: 1 << 20 };
