//! Certificates for apps' own names, asked for at a certificate authority that speaks ACME (RFC 8555).
//!
//! ```text
//! apps' labels ──▶ names ──┐
//! certificates, orders ────┴▶ plan ──▶ keeper ── order ──▶ the authority
//!        (the store)  ▲                            │            │ asks every edge
//!                     └──────── vault ◀────────────┘            ▼
//!                                 └── challenges ──▶ edges ── answers
//! ```
//!
//! Only the leader asks, one order at a time. What it has begun lies in the store, the key of the certificate to be among
//! it, so that the next leader goes on where it was: with the same account, the same order and the same key. Every write is
//! fenced, so that what a deposed leader still does comes to nothing.
//!
//! Nothing is asked of anybody unless an app's label asks for it. Private keys and the account's are [sealed](vault): whoever
//! reads the store learns none of them.
//!
//! Reading order: `plan` (what is to be done, pure), `record` (what is stored), `vault`, `keeper`, `order`.

mod account;
mod chain;
mod edges;
mod http;
mod keeper;
mod order;
mod plan;
mod record;
mod refusal;
mod settings;
mod vault;

pub use settings::{CHALLENGE_DEFAULT, Challenge, DIRECTORY_DEFAULT, ExternalAccount, Settings};

pub(crate) use chain::{Chain, ChainError};
pub(crate) use keeper::Keeper;
pub(crate) use plan::{Held, renew_at};
#[cfg(test)]
pub(crate) use record::{AccountRecord, SettingsRecord, UnderWay};
pub(crate) use record::{OrderRecord, certificate_id};
pub(crate) use vault::{Vault, VaultError, put};
