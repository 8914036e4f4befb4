//! The routing table: every route, in the order they are tried. Immutable; a change makes a new one, sharing the routes
//! that did not change.
//!
//! # Which route wins
//! Of the routes that match a request, the first by this order:
//! 1. higher explicit priority (a route without one has 0);
//! 2. host: exact, then pattern (more literal text first), then regexp, then none;
//! 3. path: the same;
//! 4. method: the same;
//! 5. more header matchers;
//! 6. more matchers in all;
//! 7. id, in alphabetical order.
//!
//! vulcand differs in two ways, both left behind on purpose. It tries routes in the *reverse alphabetical order of their
//! text*, so that `PathRegexp("/.*")` takes what `Host("a")` asks for and quoting decides who wins. And it merges
//! neighbouring expressions into one trie without comparing their last matchers, so that beside
//! `Host("a") && Method("POST")` the route `Host("a") && Path("/x")` becomes unreachable.
//!
//! # Lookup
//! Routes with an exact host are found by a hash of it, so that thousands of hosts cost a request no more than ten; the
//! others are tried one by one.

use crate::expression::{Expression, RequestHead, Subject, Test};
use crate::route::Route;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub struct Table {
    /// In the order they are tried.
    routes: Vec<Arc<Route>>,
    /// Positions of the routes with this exact host, ascending.
    by_host: HashMap<String, Vec<usize>>,
    /// Positions of all others, ascending.
    any_host: Vec<usize>,
}

/// Why a route was or was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    Wins,
    /// Matches too, but `by` goes first.
    Loses {
        by: String,
        because: &'static str,
    },
    /// This matcher says no.
    DoesNotMatch {
        matcher: String,
    },
}

/// All routes for one request, in the order they are tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    pub winner: Option<String>,
    pub routes: Vec<(String, Verdict)>,
}

impl Table {
    pub fn new(routes: impl IntoIterator<Item = Arc<Route>>) -> Self {
        let mut ranked: Vec<(Rank, Arc<Route>)> = routes.into_iter().map(|route| (Rank::of(&route), route)).collect();
        ranked.sort_by(|(left, a), (right, b)| left.cmp(right).then_with(|| a.id.cmp(&b.id)));
        let routes: Vec<Arc<Route>> = ranked.into_iter().map(|(_, route)| route).collect();
        let mut table = Self { routes: Vec::new(), by_host: HashMap::new(), any_host: Vec::new() };
        for (position, route) in routes.iter().enumerate() {
            match exact_host(&route.expression) {
                Some(host) => table.by_host.entry(host.to_owned()).or_default().push(position),
                None => table.any_host.push(position),
            }
        }
        table.routes = routes;
        table
    }

    /// In the order they are tried.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    pub fn find(&self, head: &RequestHead<'_>) -> Option<&Arc<Route>> {
        self.find_position(head).map(|position| &self.routes[position])
    }

    /// The winner's position in [`Table::routes`].
    pub fn find_position(&self, head: &RequestHead<'_>) -> Option<usize> {
        let host_name = head.host_name();
        let of_host = self.by_host.get(host_name.as_str()).map_or(&[][..], Vec::as_slice);
        let mut of_host = of_host.iter().copied().peekable();
        let mut of_any = self.any_host.iter().copied().peekable();
        loop {
            // Both lists ascend: the smaller head is the next in the order of precedence.
            let position = match (of_host.peek(), of_any.peek()) {
                (Some(a), Some(b)) if a < b => of_host.next(),
                (_, Some(_)) => of_any.next(),
                (_, None) => of_host.next(),
            }?;
            if self.routes[position].expression.first_failing(head, host_name.as_str()).is_none() {
                return Some(position);
            }
        }
    }

    /// What [`Table::find`] decides for a request, and why.
    pub fn explain(&self, head: &RequestHead<'_>) -> Explanation {
        let host_name = head.host_name();
        let mut winner: Option<&Arc<Route>> = None;
        let mut routes = Vec::with_capacity(self.routes.len());
        for route in &self.routes {
            let verdict = match (route.expression.first_failing(head, host_name.as_str()), winner) {
                (Some(matcher), _) => Verdict::DoesNotMatch { matcher: matcher.to_string() },
                (None, Some(winner)) => Verdict::Loses {
                    by: winner.id.clone(),
                    because: Rank::of(winner).first_difference(&Rank::of(route)),
                },
                (None, None) => {
                    winner = Some(route);
                    Verdict::Wins
                }
            };
            routes.push((route.id.clone(), verdict));
        }
        Explanation { winner: winner.map(|route| route.id.clone()), routes }
    }
}

/// The order of precedence; smaller goes first. Fields in the order they count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    priority: Reverse<i64>,
    host: Precision,
    path: Precision,
    method: Precision,
    headers: Reverse<usize>,
    matchers: Reverse<usize>,
}

/// How precisely a part of the request is asked for; smaller is more precise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    Exact,
    Pattern { literal_bytes: Reverse<usize> },
    Regexp { bytes: Reverse<usize> },
    None,
}

impl Rank {
    fn of(route: &Route) -> Self {
        let matchers = route.expression.matchers();
        let precision = |subject: &Subject| {
            let tests = matchers.iter().filter(|matcher| matcher.subject == *subject);
            tests.map(|matcher| Precision::of(&matcher.test)).min().unwrap_or(Precision::None)
        };
        Self {
            priority: Reverse(route.priority.unwrap_or(0)),
            host: precision(&Subject::Host),
            path: precision(&Subject::Path),
            method: precision(&Subject::Method),
            headers: Reverse(matchers.iter().filter(|m| matches!(m.subject, Subject::Header(_))).count()),
            matchers: Reverse(matchers.len()),
        }
    }

    fn first_difference(&self, other: &Self) -> &'static str {
        match () {
            () if self.priority != other.priority => "it has the higher priority",
            () if self.host != other.host => "its host is more precise",
            () if self.path != other.path => "its path is more precise",
            () if self.method != other.method => "its method is more precise",
            () if self.headers != other.headers => "it asks for more headers",
            () if self.matchers != other.matchers => "it has more matchers",
            () => "its id comes first",
        }
    }
}

impl Precision {
    fn of(test: &Test) -> Self {
        match test {
            Test::Pattern(pattern) if pattern.exact().is_some() => Self::Exact,
            Test::Pattern(pattern) => Self::Pattern { literal_bytes: Reverse(pattern.literal_bytes()) },
            Test::Regexp(regexp) => Self::Regexp { bytes: Reverse(regexp.as_str().len()) },
        }
    }
}

/// A host without which the expression cannot match.
fn exact_host(expression: &Expression) -> Option<&str> {
    expression.matchers().iter().find_map(|matcher| match (&matcher.subject, &matcher.test) {
        (Subject::Host, Test::Pattern(pattern)) => pattern.exact(),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
