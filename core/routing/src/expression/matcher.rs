//! One question to a request, such as `Host("a")`.

use super::head::RequestHead;
use super::network::Network;
use crate::pattern::{Pattern, Separator};
use regex::Regex;
use std::fmt;

#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    pub condition: Condition,
    /// As written, for explanations.
    pub source: String,
}

#[derive(Clone, Debug)]
pub(crate) enum Condition {
    Text(Subject, Test),
    /// The client is in one of these.
    Client(Vec<Network>),
}

/// The text of a request that is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Host,
    Path,
    Method,
    /// By its lower-cased name.
    Header(String),
    Query(String),
}

#[derive(Clone, Debug)]
pub(crate) enum Test {
    Pattern(Pattern),
    Regexp(Regex),
}

impl Matcher {
    pub fn matches(&self, head: &RequestHead<'_>, host_name: &str) -> bool {
        let (subject, test) = match &self.condition {
            Condition::Text(subject, test) => (subject, test),
            Condition::Client(networks) => return networks.iter().any(|network| network.contains(head.client)),
        };
        let Some(value) = subject.value(head, host_name) else { return false };
        match test {
            Test::Pattern(pattern) => pattern.matches(value),
            Test::Regexp(regexp) => regexp.is_match(value),
        }
    }
}

impl Subject {
    /// What ends a `<name>` in patterns of it.
    pub fn separator(&self) -> Separator {
        Separator(match self {
            Self::Host => '.',
            Self::Method => ' ',
            Self::Path | Self::Header(_) | Self::Query(_) => '/',
        })
    }

    pub fn value<'a>(&self, head: &RequestHead<'a>, host_name: &'a str) -> Option<&'a str> {
        match self {
            Self::Host => Some(host_name),
            Self::Path => Some(head.path),
            Self::Method => Some(head.method),
            Self::Header(name) => head.headers.first(name),
            Self::Query(name) => head.parameter(name),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}
