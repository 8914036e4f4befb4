//! vulcand's `-aliases`: wherever a frontend's rule has one text it also takes what the rule says with another in its
//! place, for example `Host("localhost")=Host("192.168.1.1")`.

use std::str::FromStr;

/// A text in rules and what may stand for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    of: String,
    alias: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("alias {text:?}: expected two parts of rules with a `=` between them, such as Host(\"a\")=Host(\"b\")")]
pub struct AliasError {
    text: String,
}

impl FromStr for Alias {
    type Err = AliasError;

    fn from_str(text: &str) -> Result<Self, AliasError> {
        let sides = equals_sign(text).map(|at| (text[..at].trim(), text[at + 1..].trim()));
        match sides {
            Some((of, alias)) if !of.is_empty() && !alias.is_empty() => {
                Ok(Self { of: of.to_owned(), alias: alias.to_owned() })
            }
            _ => Err(AliasError { text: text.to_owned() }),
        }
    }
}

/// Where the first `=` outside of strings is.
fn equals_sign(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some('"'), '\\') => escaped = true,
            (Some(open), c) if open == c => quote = None,
            (None, '"' | '`') => quote = Some(c),
            (None, '=') => return Some(at),
            _ => {}
        }
    }
    None
}

/// The rule, or what it says with an alias in it.
pub(crate) fn with_aliases(rule: &str, aliases: &[Alias]) -> String {
    let occurring = aliases.iter().filter(|alias| rule.contains(&alias.of));
    occurring.fold(rule.to_owned(), |either, alias| format!("{either} || {}", rule.replace(&alias.of, &alias.alias)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_and_its_aliases_are_alternatives() {
        let aliases = [r#"Host("localhost")=Host("192.168.1.1")"#, r#" Host("a=b") = Host("c\"=") "#];
        let aliases = aliases.map(|text| text.parse::<Alias>().unwrap());
        assert_eq!(aliases[1], Alias { of: r#"Host("a=b")"#.into(), alias: r#"Host("c\"=")"#.into() });
        let rule = r#"Host("localhost") && Path("/")"#;
        let both = r#"Host("localhost") && Path("/") || Host("192.168.1.1") && Path("/")"#;
        assert_eq!(with_aliases(rule, &aliases), both);
        assert_eq!(with_aliases(r#"Host("b")"#, &aliases), r#"Host("b")"#);
    }

    #[test]
    fn what_is_no_alias_is_refused() {
        for text in ["", "=", "a=", "=b", r#"Host("a=b")"#, "Host(`=`"] {
            assert!(text.parse::<Alias>().is_err(), "{text}");
        }
    }
}
