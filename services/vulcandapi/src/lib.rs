//! vulcand's HTTP API (version 2) over its keys in the store: hosts, listeners, backends and their servers, frontends and
//! their middlewares, what `top` shows, and the severity of the log.
//!
//! ```text
//! request ─▶ api (paths) ─▶ ask (the body: which object, how long it lives) ─┐
//!                                                                            ├─▶ objects ─▶ storage ─▶ store
//!                               core/vulcand: shape (what a change keeps), objects (what can be served)
//! ```
//!
//! Served by an edge (which asks the controller to write) and by the controller; both put their gate around [`router`].
//! Paths, bodies and answers are vulcand's, so that `vctl` and whatever was written for vulcand works on.
//!
//! # Where this differs from vulcand, on purpose
//! * What is wrong with a request is 400 and the field is named, what is not there is 404, what is in use is 409. vulcand
//!   answers 500 to most of it, and 200 when what is deleted is not there.
//! * Deleting `f1` never touches `f10`.
//! * Every check of the edge is made before anything is written, and each write compares what it was decided upon.
//! * A change keeps the fields vulcand does not know ([`vulcand::shape`]).
//! * A private key goes in and never comes out; in the store it is sealed.

mod api;
mod ask;
mod failure;
mod host;
mod objects;
mod secret;
mod storage;
mod top;

use identity::SealKey;
use std::sync::Arc;
use store::{Compare, Store};
use vulcand::statistics::Statistics;

pub use api::router;

/// What the API works on.
pub struct Config {
    pub store: Arc<dyn Store>,
    /// Must hold whenever something is written: a controller writes only while it leads. A write that fails for it is
    /// answered 503, with the fence in the response's extensions.
    pub fence: Option<Compare>,
    /// Seals the private keys of hosts; without it no host is given one.
    pub seal_key: Option<SealKey>,
    /// Who knows what `top` shows; none: whoever asks is sent to an edge.
    pub statistics: Option<Arc<dyn Statistics>>,
}
