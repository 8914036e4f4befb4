//! The order of precedence.

use crate::expression::{Alternative, Condition, Subject, Test};
use crate::route::Route;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::sync::Arc;

/// Which of two routes of the same priority goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The more specific one.
    #[default]
    Specific,
    /// vulcand's: the one whose text comes last in alphabetical order.
    Vulcand,
}

/// A place in the order of precedence; smaller goes first. Fields in the order they count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    priority: Reverse<i64>,
    within: Within,
    /// Of the route; it settles what nothing else did.
    id: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Within {
    Specific(Specificity),
    Vulcand { text: Reverse<Arc<str>> },
}

/// What an alternative asks for; under a `!` nothing is asked for, only counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Specificity {
    host: Precision,
    path: Precision,
    method: Precision,
    /// Header and query matchers.
    fields: Reverse<usize>,
    /// Bits of the client's address that may be any, in the widest block; `u32::MAX` where every client will do.
    client_open_bits: u32,
    terms: Reverse<usize>,
}

/// How precisely a part of the request is asked for; smaller is more precise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    Exact,
    Pattern { literal_bytes: Reverse<usize>, is_open: bool },
    Regexp { bytes: Reverse<usize> },
    None,
}

impl Rank {
    pub fn of(route: &Route, alternative: &Alternative, order: Order, id: &Arc<str>) -> Self {
        let within = match order {
            Order::Specific => Within::Specific(Specificity::of(alternative)),
            Order::Vulcand => Within::Vulcand { text: Reverse(route.expression.text().clone()) },
        };
        Self { priority: Reverse(route.priority.unwrap_or(0)), within, id: id.clone() }
    }

    /// Why this one goes before the other.
    pub fn reason_before(&self, other: &Self) -> &'static str {
        if self.priority != other.priority {
            return "it has the higher priority";
        }
        match (&self.within, &other.within) {
            (Within::Specific(own), Within::Specific(other)) => own.reason_before(other),
            (own, other) if own != other => "its text comes later in alphabetical order",
            _ => "its id comes first",
        }
    }
}

impl Specificity {
    fn of(alternative: &Alternative) -> Self {
        let (mut host, mut path, mut method) = (Precision::None, Precision::None, Precision::None);
        let mut fields = 0;
        let mut client_open_bits = u32::MAX;
        for matcher in alternative.positive() {
            let (subject, test) = match &matcher.condition {
                Condition::Text(subject, test) => (subject, test),
                Condition::Client(networks) => {
                    let widest = networks.iter().map(|network| network.open_bits()).max().unwrap_or(u32::MAX);
                    client_open_bits = client_open_bits.min(widest);
                    continue;
                }
            };
            let precision = match subject {
                Subject::Host => &mut host,
                Subject::Path => &mut path,
                Subject::Method => &mut method,
                Subject::Header(_) | Subject::Query(_) => {
                    fields += 1;
                    continue;
                }
            };
            *precision = Precision::of(test).min(*precision);
        }
        let terms = Reverse(alternative.terms.len());
        Self { host, path, method, fields: Reverse(fields), client_open_bits, terms }
    }

    fn reason_before(&self, other: &Self) -> &'static str {
        match () {
            () if self.host != other.host => "its host is more precise",
            () if self.path != other.path => "its path is more precise",
            () if self.method != other.method => "its method is more precise",
            () if self.fields != other.fields => "it asks for more headers and query parameters",
            () if self.client_open_bits != other.client_open_bits => "its clients are fewer",
            () if self.terms != other.terms => "it has more matchers",
            () => "its id comes first",
        }
    }
}

impl Precision {
    fn of(test: &Test) -> Self {
        match test {
            Test::Pattern(pattern) if pattern.exact().is_some() => Self::Exact,
            Test::Pattern(pattern) => {
                Self::Pattern { literal_bytes: Reverse(pattern.literal_bytes()), is_open: pattern.is_open() }
            }
            Test::Regexp(regexp) => Self::Regexp { bytes: Reverse(regexp.as_str().len()) },
        }
    }
}
