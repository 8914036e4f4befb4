//! The route language: vulcand's matchers and more, joined by `&&`, `||`, `!` and parentheses, for example
//! ``Host("a.example") && (Path(`/v<int:n>/<path:p>`) || PathPrefix("/files/"))``. `docs/routes.md` describes it.
//!
//! | matcher | of the request | pattern |
//! |---|---|---|
//! | `Host(p)` `HostRegexp(r)` | host, lower-cased, without port | separator `.` |
//! | `Path(p)` `PathPrefix(p)` `PathRegexp(r)` | raw path, percent-encoded as it came, without query | separator `/` |
//! | `Method(p)` `MethodRegexp(r)` | method, as it came | separator space |
//! | `Header(name, p)` `HeaderRegexp(name, r)` | first header of that name, when it is UTF-8 | separator `/` |
//! | `Query(name, p)` `QueryRegexp(name, r)` | first parameter of that name, raw | separator `/` |
//! | `ClientIP(block, …)` | the client's address | CIDR |
//!
//! Regexps are not anchored. Their syntax is RE2's as the `regex` crate has it (no `\Q..\E`; `\d` and `\w` know Unicode); a
//! `HostRegexp` ignores case, where vulcand lower-cases the pattern and so turns `\D` into `\d`.
//!
//! # Alternatives
//! An expression is kept multiplied out, as alternatives: conjunctions of terms, each a matcher or the contrary of one.
//! `a && (b || c)` is `a && b` or `a && c`. A route with `||` then behaves exactly as so many routes without it, in
//! precedence and in lookup, which both need to see only conjunctions.

mod head;
mod hosts;
mod matcher;
mod network;
mod parse;

pub(crate) use head::HostBuffer;
pub use head::{HOST_BYTES_MAX, Headers, RequestHead};
pub(crate) use matcher::{Condition, Matcher, Subject, Test};
pub use network::Network;

use crate::lexer::ParseError;
use std::fmt;
use std::sync::Arc;

/// Bytes one expression may have.
pub const EXPRESSION_BYTES_MAX: usize = 8 * 1024;
/// Matchers one expression may have.
pub const MATCHERS_MAX: usize = 64;
/// Alternatives one expression may have, multiplied out.
pub const ALTERNATIVES_MAX: usize = 256;

/// A parsed route expression.
#[derive(Clone, Debug)]
pub struct Expression {
    text: Arc<str>,
    alternatives: Vec<Alternative>,
}

/// One conjunction of an expression.
#[derive(Clone, Debug)]
pub(crate) struct Alternative {
    pub terms: Vec<Term>,
}

/// A matcher, or its contrary.
#[derive(Clone, Debug)]
pub(crate) struct Term {
    pub matcher: Arc<Matcher>,
    pub negated: bool,
}

impl Expression {
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.len() > EXPRESSION_BYTES_MAX {
            let message = format!("the expression has more than {EXPRESSION_BYTES_MAX} bytes");
            return Err(ParseError::new(1, message));
        }
        Ok(Self { text: text.into(), alternatives: parse::read(text)? })
    }

    /// Matches no request.
    pub(crate) fn nothing() -> Self {
        Self { text: "".into(), alternatives: Vec::new() }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn text(&self) -> &Arc<str> {
        &self.text
    }

    pub fn matches(&self, head: &RequestHead<'_>) -> bool {
        let mut buffer = HostBuffer::new();
        let host_name = head.host_name(&mut buffer);
        self.alternatives.iter().any(|alternative| alternative.matches(head, host_name))
    }

    /// At least one, but of [`Expression::nothing`].
    pub(crate) fn alternatives(&self) -> &[Alternative] {
        &self.alternatives
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Alternative {
    /// `host_name` is the request's, made once for all routes.
    pub fn matches(&self, head: &RequestHead<'_>, host_name: &str) -> bool {
        self.first_failing(head, host_name).is_none()
    }

    /// The first term a request does not satisfy.
    pub fn first_failing(&self, head: &RequestHead<'_>, host_name: &str) -> Option<&Term> {
        self.terms.iter().find(|term| !term.holds(head, host_name))
    }

    /// The matchers that must hold; those under a `!` are left out.
    pub fn positive(&self) -> impl Iterator<Item = &Arc<Matcher>> {
        self.terms.iter().filter(|term| !term.negated).map(|term| &term.matcher)
    }
}

impl fmt::Display for Alternative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, term) in self.terms.iter().enumerate() {
            let and = if position == 0 { "" } else { " && " };
            write!(f, "{and}{term}")?;
        }
        Ok(())
    }
}

impl Term {
    pub fn holds(&self, head: &RequestHead<'_>, host_name: &str) -> bool {
        self.matcher.matches(head, host_name) != self.negated
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.negated { "!" } else { "" };
        write!(f, "{not}{}", self.matcher)
    }
}

#[cfg(test)]
mod tests;
