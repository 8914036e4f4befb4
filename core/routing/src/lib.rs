//! What a proxy decides: routes, matching, balancing, failover predicates. Pure: no socket, no clock, no randomness.
//!
//! A provider turns its input (a [`document::RouteDocument`], or vulcand's keys) into [`RouteSpec`]s; [`Route::compile`]
//! checks one and makes it quick to match; a [`Table`] holds all of them, immutable, and finds the one a request takes. What
//! must outlive a table (whose turn it is, who answers badly, in [`Balancer`]) is kept beside it and handed from one table to the next.
//!
//! Reading order: `expression` (the route language), `route`, `table` (order of precedence, lookup, explanation),
//! `balance`, `predicate` (the failover language).

mod balance;
pub mod certificate;
pub mod challenge;
pub mod document;
mod expression;
mod lexer;
mod pattern;
mod predicate;
mod route;
mod table;
mod tcp;
mod tls;
mod url;

pub use balance::{
    Ask, Balance, BalanceError, BalanceSpec, Balancer, BufferSpec, CanarySpec, EjectionSpec, HashOn, Health,
    HealthKind, HealthSpec, HealthStanding, MirrorSpec, MirrorTo, Picked, Policy, Ratio, RetryBudget, RetrySpec,
    SetCookie, Standing, StatusRange, StickySpec,
};
pub use expression::{
    ALTERNATIVES_MAX, EXPRESSION_BYTES_MAX, Expression, HOST_BYTES_MAX, Headers, MATCHERS_MAX, Network, RequestHead,
};
pub use lexer::ParseError;
pub use predicate::{Attempt, DEFAULT_PREDICATE, PREDICATE_BYTES_MAX, Predicate, RETRIES_MAX};
pub use route::{Route, RouteError, RouteSpec, SendProxy, Server, Service};
pub use table::{Explained, Explanation, Order, Table, Verdict};
pub use tcp::{TcpError, TcpRule, TcpSpec, TcpTable};
pub use tls::{ClientCertificates, ListenerTls, ServerTls, TlsVersion};
pub use url::{Scheme, ServerUrl, UrlError};
