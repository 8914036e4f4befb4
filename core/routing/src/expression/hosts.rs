//! The host names an expression is about.

use super::{Condition, Expression, Matcher, Subject, Test};
use std::collections::BTreeSet;

impl Expression {
    /// The names it serves, where it serves no others: each alternative names one host exactly. `None` otherwise.
    pub fn exact_hosts(&self) -> Option<BTreeSet<String>> {
        let name = |matcher: &Matcher| match &matcher.condition {
            Condition::Text(Subject::Host, Test::Pattern(pattern)) => pattern.exact().map(str::to_ascii_lowercase),
            _ => None,
        };
        self.alternatives().iter().map(|alternative| alternative.positive().find_map(|matcher| name(matcher))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_when_there_are_no_others() {
        let hosts = |text: &str| {
            let hosts = Expression::parse(text).unwrap().exact_hosts();
            hosts.map(|hosts| hosts.into_iter().collect::<Vec<_>>().join(" "))
        };
        assert_eq!(hosts("Host(`A.example`) && Path(`/x`)").as_deref(), Some("a.example"));
        assert_eq!(hosts("(Host(`a`) || Host(`b`)) && Method(`GET`)").as_deref(), Some("a b"));
        for other in ["Path(`/x`)", "Host(`a`) || Path(`/x`)", "Host(`<sub>.a`)", "HostRegexp(`a`)", "!Host(`a`)"] {
            assert_eq!(hosts(other), None, "{other}");
        }
    }
}
