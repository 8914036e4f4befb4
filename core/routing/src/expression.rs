//! The route language, vulcand's: matchers joined by `&&`, for example ``Host("a.example") && Path(`/v<int:n>/<path:p>`)``.
//!
//! | matcher | of the request | pattern |
//! |---|---|---|
//! | `Host(p)` `HostRegexp(r)` | host, lower-cased, without port | separator `.` |
//! | `Path(p)` `PathRegexp(r)` | raw path, percent-encoded as it came, without query | separator `/` |
//! | `Method(p)` `MethodRegexp(r)` | method, as it came | separator space |
//! | `Header(name, p)` `HeaderRegexp(name, r)` | first header of that name, when it is UTF-8 | separator `/` |
//!
//! Regexps are not anchored. Their syntax is RE2's as the `regex` crate has it (no `\Q..\E`; `\d` and `\w` know Unicode); a
//! `HostRegexp` ignores case, where vulcand lower-cases the pattern and so turns `\D` into `\d`. `||` and `!` are not in
//! the language: two routes say "or".

mod head;

pub use head::{HOST_BYTES_MAX, Headers, RequestHead};

use crate::lexer::{NESTING_MAX, ParseError, Token, Words};
use crate::pattern::{Pattern, Separator};
use regex::{Regex, RegexBuilder};
use std::fmt;

/// Bytes one expression may have.
pub const EXPRESSION_BYTES_MAX: usize = 8 * 1024;
/// Matchers one expression may have.
pub const MATCHERS_MAX: usize = 64;
/// Bytes one compiled regexp may take, and again its lazily built automaton.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Nesting of groups in a regexp.
const REGEX_NESTING_MAX: u32 = 100;

/// A parsed route expression.
#[derive(Clone, Debug)]
pub struct Expression {
    text: String,
    matchers: Vec<Matcher>,
}

#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    pub subject: Subject,
    pub test: Test,
    /// As written, for explanations.
    source: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Host,
    Path,
    Method,
    /// By its lower-cased name.
    Header(String),
}

#[derive(Clone, Debug)]
pub(crate) enum Test {
    Pattern(Pattern),
    Regexp(Regex),
}

impl Expression {
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.len() > EXPRESSION_BYTES_MAX {
            let message = format!("the expression has more than {EXPRESSION_BYTES_MAX} bytes");
            return Err(ParseError::new(1, message));
        }
        let mut words = Words::read(text)?;
        let mut matchers = Vec::new();
        conjunction(&mut words, &mut matchers, 0)?;
        let end = words.take();
        if end.token != Token::End {
            return Err(no_operator(end.column, &end.token));
        }
        Ok(Self { text: text.to_owned(), matchers })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    pub fn matches(&self, head: &RequestHead<'_>) -> bool {
        self.first_failing(head, head.host_name().as_str()).is_none()
    }

    /// The first matcher a request does not satisfy. `host_name` is [`RequestHead::host_name`], computed once per request.
    pub(crate) fn first_failing(&self, head: &RequestHead<'_>, host_name: &str) -> Option<&Matcher> {
        self.matchers.iter().find(|matcher| !matcher.matches(head, host_name))
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl Matcher {
    fn matches(&self, head: &RequestHead<'_>, host_name: &str) -> bool {
        let value = match &self.subject {
            Subject::Host => Some(host_name),
            Subject::Path => Some(head.path),
            Subject::Method => Some(head.method),
            Subject::Header(name) => head.headers.first(name),
        };
        let Some(value) = value else { return false };
        match &self.test {
            Test::Pattern(pattern) => pattern.matches(value),
            Test::Regexp(regexp) => regexp.is_match(value),
        }
    }
}

/// `term && term …`, each a matcher or a conjunction in parentheses; all flattened into one list.
fn conjunction(words: &mut Words, matchers: &mut Vec<Matcher>, depth: usize) -> Result<(), ParseError> {
    loop {
        let word = words.take();
        match word.token {
            Token::Open if depth == NESTING_MAX => {
                return Err(ParseError::new(word.column, format!("more than {NESTING_MAX} nested parentheses")));
            }
            Token::Open => {
                conjunction(words, matchers, depth + 1)?;
                let close = words.take();
                if close.token != Token::Close {
                    return Err(no_operator(close.column, &close.token));
                }
            }
            Token::Name(name) => {
                if matchers.len() == MATCHERS_MAX {
                    return Err(ParseError::new(word.column, format!("more than {MATCHERS_MAX} matchers")));
                }
                matchers.push(matcher(&name, word.column, words)?);
            }
            Token::Not => return Err(no_operator(word.column, &Token::Not)),
            other => {
                let message = format!("expected a matcher ({MATCHER_NAMES}), found {other}");
                return Err(ParseError::new(word.column, message));
            }
        }
        if !words.accept(&Token::And) {
            return Ok(());
        }
    }
}

const MATCHER_NAMES: &str = "Host, HostRegexp, Path, PathRegexp, Method, MethodRegexp, Header or HeaderRegexp";

fn no_operator(column: usize, token: &Token) -> ParseError {
    let message = match token {
        Token::Or => "`||` is not in the language: write two routes".to_owned(),
        Token::Not => "`!` is not in the language".to_owned(),
        other => format!("expected `&&` or the end, found {other}"),
    };
    ParseError::new(column, message)
}

fn matcher(name: &str, column: usize, words: &mut Words) -> Result<Matcher, ParseError> {
    let (kind, is_regexp) = match name.strip_suffix("Regexp") {
        Some(kind) => (kind, true),
        None => (name, false),
    };
    if !matches!(kind, "Host" | "Path" | "Method" | "Header") {
        let hint = if matches!(name, "TrieRoute" | "RegexpRoute") { " (older than vulcand 0.8)" } else { "" };
        return Err(ParseError::new(column, format!("unknown matcher `{name}`{hint}: expected {MATCHER_NAMES}")));
    }
    words.expect(&Token::Open)?;
    let mut header = None;
    if kind == "Header" {
        let (column, name) = string(words)?;
        let known = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(known) {
            return Err(ParseError::new(column, format!("{name:?} is no header name")));
        }
        words.expect(&Token::Comma)?;
        header = Some(name.to_ascii_lowercase());
    }
    let (text_column, text) = string(words)?;
    words.expect(&Token::Close)?;

    let (subject, separator) = match (kind, &header) {
        ("Host", _) => (Subject::Host, '.'),
        ("Path", _) => (Subject::Path, '/'),
        ("Method", _) => (Subject::Method, ' '),
        (_, header) => (Subject::Header(header.clone().unwrap_or_default()), '/'),
    };
    if text.is_empty() && subject == Subject::Path && !is_regexp {
        return Err(ParseError::new(text_column, "a path is never empty"));
    }
    let test = if is_regexp {
        Test::Regexp(regexp(&text, subject == Subject::Host, text_column)?)
    } else {
        let text = if subject == Subject::Host { text.to_ascii_lowercase() } else { text.clone() };
        let pattern = Pattern::parse(&text, Separator(separator));
        // The quote is one column; escapes before the fault would move it further.
        Test::Pattern(pattern.map_err(|(at, message)| ParseError::new(text_column + 1 + at, message))?)
    };
    let source = match header {
        Some(header) => format!("{name}({header:?}, {text:?})"),
        None => format!("{name}({text:?})"),
    };
    Ok(Matcher { subject, test, source })
}

fn string(words: &mut Words) -> Result<(usize, String), ParseError> {
    let word = words.take();
    match word.token {
        Token::Text(text) => Ok((word.column, text)),
        other => {
            let message = format!("expected a string (\"…\" or between backticks), found {other}");
            Err(ParseError::new(word.column, message))
        }
    }
}

fn regexp(text: &str, ignore_case: bool, column: usize) -> Result<Regex, ParseError> {
    RegexBuilder::new(text)
        .case_insensitive(ignore_case)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
        .nest_limit(REGEX_NESTING_MAX)
        .build()
        .map_err(|error| {
            // The crate draws the place over several lines; the last line says what is wrong.
            let text = error.to_string();
            let cause = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            ParseError::new(column, format!("regexp: {cause}"))
        })
}

#[cfg(test)]
mod tests;
