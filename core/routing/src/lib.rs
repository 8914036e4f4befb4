//! What a proxy decides: routes, matching, balancing, failover predicates.

pub mod document;
