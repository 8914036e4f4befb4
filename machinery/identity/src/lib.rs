//! Who is asking, and what they may do.
//!
//! Every interface asks for credentials, on loopback too. A role of the platform (or a person) has a [`Token`]; a service
//! knows only the SHA-256 of the tokens it accepts, so that a service broken into cannot speak as another. The
//! [`Authority`] makes the tokens and keeps them in files only their owner can read; each role is handed an [`Identity`]:
//! its own token and what it accepts. [`Gate`] is the HTTP face of it.

mod authority;
mod gate;
mod role;
mod token;

pub use authority::{AccessKey, Authority, AuthorityError, Identity};
pub use gate::{Caller, Gate, GateLayer, authorization_token};
pub use role::{Access, Role, StoreRight};
pub use token::{Accepted, OpenBeyondLoopback, Token, Verifier};
