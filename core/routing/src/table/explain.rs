//! What a table decides for a request, and why.

use super::rank::Rank;
use super::{Order, Table, rank_of};
use crate::expression::{Expression, HostBuffer, RequestHead};
use crate::route::{Route, Service};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// All routes for one request: the winner, then those it goes before, then those that do not match, each in the order of
/// precedence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The id of the route that takes the request.
    pub winner: Option<String>,
    pub routes: Vec<Explained>,
}

/// One route and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// Its id.
    pub route: String,
    pub rule: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The verdict, for people.
    pub reason: String,
    /// Why the route refuses every request it wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuses: Option<String>,
}

/// Why a route was or was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// By this alternative of its expression.
    Wins { matched: String },
    /// Matches too, but `by` goes first.
    Loses { matched: String, by: String, because: String },
    /// Of each alternative, the first part that says no.
    DoesNotMatch { failing: Vec<String> },
}

impl Table {
    /// What [`Table::find`] decides for a request, and why.
    pub fn explain(&self, head: &RequestHead<'_>) -> Explanation {
        let mut buffer = HostBuffer::new();
        let host_name = head.host_name(&mut buffer);
        let mut matching = Vec::new();
        let mut others = Vec::new();
        for route in &self.routes {
            match best_match(route, head, host_name, self.order) {
                Some((rank, matched)) => matching.push((rank, route, matched)),
                None => {
                    let rank = rank_of(route, self.order);
                    others.push(((rank.is_none(), rank), route));
                }
            }
        }
        matching.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        others.sort_by(|(a, _), (b, _)| a.cmp(b));
        let winner = matching.first().map(|(rank, route, _)| (rank.clone(), route.id.clone()));
        let verdict = |(position, (rank, route, matched)): (usize, (Rank, &Arc<Route>, String))| match &winner {
            Some((first, by)) if position > 0 => {
                let because = first.reason_before(&rank).to_owned();
                Explained::new(route, Verdict::Loses { matched, by: by.clone(), because })
            }
            _ => Explained::new(route, Verdict::Wins { matched }),
        };
        let mut routes: Vec<Explained> = matching.into_iter().enumerate().map(verdict).collect();
        routes.extend(others.into_iter().map(|(_, route)| {
            let failing = match &route.tcp {
                Some(tcp) => vec![tcp.describe()],
                None => failing(&route.expression, head, host_name),
            };
            Explained::new(route, Verdict::DoesNotMatch { failing })
        }));
        Explanation { winner: winner.map(|(_, id)| id), routes }
    }
}

impl Explained {
    fn new(route: &Route, verdict: Verdict) -> Self {
        let reason = match &verdict {
            Verdict::Wins { matched } => format!("{matched} matches"),
            Verdict::Loses { by, because, .. } => format!("{by} goes first: {because}"),
            Verdict::DoesNotMatch { .. } if route.tcp.is_some() => "it takes TCP connections, no requests".to_owned(),
            Verdict::DoesNotMatch { failing } => match failing.as_slice() {
                [one] => format!("{one} does not hold"),
                several => format!("of no alternative all holds: not {}", several.join(", not ")),
            },
        };
        let refuses = match &route.service {
            Service::Serve => None,
            Service::Refuse(reason) => Some(reason.clone()),
        };
        let rule = route.expression.as_str().to_owned();
        Self { route: route.id.clone(), rule, priority: route.priority, verdict, reason, refuses }
    }
}

/// The best alternative that matches: its rank and its text.
fn best_match(route: &Route, head: &RequestHead<'_>, host_name: &str, order: Order) -> Option<(Rank, String)> {
    let id = route.id.as_str().into();
    let matching = route.expression.alternatives().iter().filter(|alternative| alternative.matches(head, host_name));
    let ranked = matching.map(|alternative| (Rank::of(route, alternative, order, &id), alternative));
    let (rank, alternative) = ranked.min_by(|(a, _), (b, _)| a.cmp(b))?;
    Some((rank, alternative.to_string()))
}

/// Each part once.
fn failing(expression: &Expression, head: &RequestHead<'_>, host_name: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for alternative in expression.alternatives() {
        let part = alternative.first_failing(head, host_name).map(|part| part.to_string());
        parts.extend(part.filter(|part| !parts.contains(part)));
    }
    parts
}
