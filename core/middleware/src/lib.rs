//! What is done to a request on its way, decided but not executed. Pure: no socket, no clock, no randomness, no
//! cryptography; time comes in with every call, and what has to happen outside goes out as data.
//!
//! # Use
//! ```text
//! Chain::read(list, previous)        a route document's values {"Id","Priority","Type","Middleware":{…}}, checked
//! Chain::new(middlewares, previous)  the same of parts, as vulcand's keys have them: Middleware::new(id, priority, …)
//!                                    Sorted by priority; what has not changed keeps its buckets, counts and breakers
//! chain.before(&request, now)        once per request, however often it is retried
//!   Continue(passage)                  forward it with passage.edits, within passage.limits
//!   Answer(answer)                     send this instead; perform answer.effects
//!   Ask(asking)                        find out asking.question(), then asking.resume(reply, &request, now) decides again
//! passage.response(&response, now)   when the head that will reach the client is known: edits for it, and effects
//! passage.finish(outcome, now)       when the exchange is over: effects; a passage that is dropped instead only frees
//!                                    what it held
//! ```
//! An empty chain is a slice with nothing in it: `before` allocates nothing, and neither do middlewares that only look.
//!
//! # State
//! A middleware and its state are one object behind an [`Arc`](std::sync::Arc), shared by all threads; a new [`Chain`]
//! takes over the objects of the chain before it whose id and settings are equal. So a change of servers, of priorities or
//! of other middlewares keeps every bucket, count and breaker. Rejected: a state beside the chain, keyed by identity, which
//! would be a second lookup per request and would have to be cleaned.
//!
//! # Cryptography
//! Passwords and signatures are asked for ([`Question`]): the purity check allows no hash here (they reach `libc`), bcrypt
//! would hold up a data thread for a tenth of a second, and the shell has TLS's own, quicker, constant-time primitives.
//!
//! Reading order: `view` and `edits` (what goes in and out), `chain`, `step` (what a middleware is), `spec` (JSON), then the
//! middlewares. docs/middlewares.md names every field, default, unit and status code.

mod answer;
mod chain;
pub mod duration;
mod edits;
mod effect;
mod keyed;
mod question;
mod spec;
mod step;
mod url;
mod variable;
mod view;

mod basicauth;
mod bodylimit;
mod cbreaker;
mod compress;
mod connlimit;
mod cors;
mod forwardauth;
mod headers;
mod iplist;
mod jwt;
mod ratelimit;
mod redirect;
mod rewrite;
mod timeouts;
mod trace;

#[cfg(test)]
mod testing;

pub use answer::Answer;
pub use chain::{Asking, Chain, ChainError, Decision, MIDDLEWARES_MAX, Passage};
pub use compress::Encoding;
pub use edits::{Change, Edits, HeaderEdit, ResponseEdits};
pub use effect::{Effect, Syslog, SyslogTransport, Webhook};
pub use question::{
    AUTHORIZATION_BODY_BYTES_MAX, Algorithm, Authorization, AuthorizationRequest, Question, Reply, StoredPassword,
    VerificationKey,
};
pub use spec::{Middleware, SpecError};
pub use step::Limits;
pub use timeouts::Timeouts;
pub use view::{Finish, Headers, Now, Request, Response, Tls};
