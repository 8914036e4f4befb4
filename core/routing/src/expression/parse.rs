//! Reads a route expression, straight into its alternatives.
//!
//! The grammar is Go's for these operators: `!` binds tighter than `&&`, `&&` tighter than `||`. An expression is kept as
//! its disjunctive normal form, a list of conjunctions. It comes out of the descent itself: whether a part stands under an
//! odd number of `!` is handed down, and where it does, `||` multiplies and `&&` adds (De Morgan).

use super::matcher::{Condition, Matcher, Subject, Test};
use super::network::Network;
use super::{ALTERNATIVES_MAX, Alternative, MATCHERS_MAX, Term};
use crate::lexer::{NESTING_MAX, ParseError, Token, Word, Words, quoted};
use crate::pattern::Pattern;
use regex::{Regex, RegexBuilder};
use std::sync::Arc;

/// Bytes one compiled regexp may take, and again its lazily built automaton.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Nesting of groups in a regexp.
const REGEX_NESTING_MAX: u32 = 100;

const MATCHER_NAMES: &str = "Host, HostRegexp, Path, PathPrefix, PathRegexp, Method, MethodRegexp, Header, HeaderRegexp, \
                             Query, QueryRegexp or ClientIP";

pub(super) fn read(text: &str) -> Result<Alternatives, ParseError> {
    let mut parser = Parser { words: Words::read(text)?, matchers: 0 };
    let alternatives = parser.any(false, 0)?;
    let end = parser.words.take();
    if end.token != Token::End {
        return Err(no_operator(end.column, &end.token));
    }
    Ok(alternatives)
}

struct Parser {
    words: Words,
    /// How many were read.
    matchers: usize,
}

type Alternatives = Vec<Alternative>;

impl Parser {
    /// `all || all …`
    fn any(&mut self, negated: bool, depth: usize) -> Result<Alternatives, ParseError> {
        let mut alternatives = self.all(negated, depth)?;
        while self.words.peek().token == Token::Or {
            let column = self.words.take().column;
            let more = self.all(negated, depth)?;
            alternatives =
                if negated { product(alternatives, &more, column) } else { sum(alternatives, more, column) }?;
        }
        Ok(alternatives)
    }

    /// `term && term …`
    fn all(&mut self, negated: bool, depth: usize) -> Result<Alternatives, ParseError> {
        let mut alternatives = self.term(negated, depth)?;
        while self.words.peek().token == Token::And {
            let column = self.words.take().column;
            let more = self.term(negated, depth)?;
            alternatives =
                if negated { sum(alternatives, more, column) } else { product(alternatives, &more, column) }?;
        }
        Ok(alternatives)
    }

    /// A matcher, `!term`, or anything in parentheses.
    fn term(&mut self, negated: bool, depth: usize) -> Result<Alternatives, ParseError> {
        let word = self.words.take();
        if depth == NESTING_MAX && matches!(word.token, Token::Open | Token::Not) {
            return Err(ParseError::new(word.column, format!("more than {NESTING_MAX} nested parentheses or `!`")));
        }
        match word.token {
            Token::Not => self.term(!negated, depth + 1),
            Token::Open => {
                let inner = self.any(negated, depth + 1)?;
                let close = self.words.take();
                if close.token != Token::Close {
                    return Err(no_operator(close.column, &close.token));
                }
                Ok(inner)
            }
            Token::Name(name) => {
                if self.matchers == MATCHERS_MAX {
                    return Err(ParseError::new(word.column, format!("more than {MATCHERS_MAX} matchers")));
                }
                self.matchers += 1;
                let matcher = Arc::new(matcher(&name, word.column, &mut self.words)?);
                Ok(vec![Alternative { terms: vec![Term { matcher, negated }] }])
            }
            other => {
                let message = format!("expected a matcher ({MATCHER_NAMES}), found {other}");
                Err(ParseError::new(word.column, message))
            }
        }
    }
}

fn sum(mut alternatives: Alternatives, more: Alternatives, column: usize) -> Result<Alternatives, ParseError> {
    check(alternatives.len() + more.len(), column)?;
    alternatives.extend(more);
    Ok(alternatives)
}

fn product(left: Alternatives, right: &Alternatives, column: usize) -> Result<Alternatives, ParseError> {
    check(left.len() * right.len(), column)?;
    let both =
        |left: &Alternative, right: &Alternative| Alternative { terms: [&left.terms[..], &right.terms].concat() };
    Ok(left.iter().flat_map(|left| right.iter().map(move |right| both(left, right))).collect())
}

fn check(alternatives: usize, column: usize) -> Result<(), ParseError> {
    if alternatives <= ALTERNATIVES_MAX {
        return Ok(());
    }
    let message = format!("multiplied out, this gives {alternatives} alternatives: {ALTERNATIVES_MAX} are allowed");
    Err(ParseError::new(column, message))
}

fn no_operator(column: usize, token: &Token) -> ParseError {
    ParseError::new(column, format!("expected `&&`, `||` or the end, found {token}"))
}

/// How a matcher's last argument is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Pattern,
    Prefix,
    Regexp,
}

/// The arguments and closing parenthesis of the matcher whose name was read.
fn matcher(name: &str, column: usize, words: &mut Words) -> Result<Matcher, ParseError> {
    let (of, form) = match name {
        "ClientIP" => {
            words.expect(&Token::Open)?;
            return client_matcher(words);
        }
        "Host" | "Path" | "Method" | "Header" | "Query" => (name, Form::Pattern),
        "PathPrefix" => ("Path", Form::Prefix),
        "HostRegexp" | "PathRegexp" | "MethodRegexp" | "HeaderRegexp" | "QueryRegexp" => {
            (name.trim_end_matches("Regexp"), Form::Regexp)
        }
        _ => {
            let hint = if matches!(name, "TrieRoute" | "RegexpRoute") { " (older than vulcand 0.8)" } else { "" };
            return Err(ParseError::new(column, format!("unknown matcher `{name}`{hint}: expected {MATCHER_NAMES}")));
        }
    };
    words.expect(&Token::Open)?;
    let subject = match of {
        "Host" => Subject::Host,
        "Path" => Subject::Path,
        "Method" => Subject::Method,
        "Header" => Subject::Header(header_name(words)?),
        _ => Subject::Query(parameter_name(words)?),
    };
    let (word, written) = string(words)?;
    words.expect(&Token::Close)?;
    if written.is_empty() && subject == Subject::Path && form != Form::Regexp {
        return Err(ParseError::new(word.column, "a path is never empty"));
    }
    let is_host = subject == Subject::Host;
    let text = if is_host { written.to_ascii_lowercase() } else { written.clone() };
    let test = match form {
        Form::Pattern => Pattern::parse(&text, subject.separator()).map(Test::Pattern),
        Form::Prefix => Pattern::prefix(&text, subject.separator()).map(Test::Pattern),
        Form::Regexp => Ok(Test::Regexp(regexp(&written, is_host, word.column)?)),
    };
    let test = test.map_err(|(at, message)| ParseError::new(word.column_of(at), message))?;
    let source = match &subject {
        Subject::Header(of) | Subject::Query(of) => format!("{name}({}, {})", quoted(of), quoted(&written)),
        _ => format!("{name}({})", quoted(&written)),
    };
    Ok(Matcher { condition: Condition::Text(subject, test), source })
}

/// `"10.0.0.0/8", "::1")`
fn client_matcher(words: &mut Words) -> Result<Matcher, ParseError> {
    let mut networks = Vec::new();
    let mut written = Vec::new();
    loop {
        let (word, text) = string(words)?;
        networks.push(Network::parse(&text).map_err(|message| ParseError::new(word.column, message))?);
        written.push(quoted(&text));
        if !words.accept(&Token::Comma) {
            words.expect(&Token::Close)?;
            let source = format!("ClientIP({})", written.join(", "));
            return Ok(Matcher { condition: Condition::Client(networks), source });
        }
    }
}

/// `"Name",`, lower-cased.
fn header_name(words: &mut Words) -> Result<String, ParseError> {
    let (word, name) = string(words)?;
    // RFC 9110 §5.6.2: token.
    let known = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(known) {
        return Err(ParseError::new(word.column, format!("{name:?} is no header name")));
    }
    words.expect(&Token::Comma)?;
    Ok(name.to_ascii_lowercase())
}

/// `"name",`: as it stands in a URL.
fn parameter_name(words: &mut Words) -> Result<String, ParseError> {
    let (word, name) = string(words)?;
    if name.is_empty() || name.contains(['&', '=', '#']) {
        return Err(ParseError::new(word.column, format!("{name:?} is no parameter's name")));
    }
    words.expect(&Token::Comma)?;
    Ok(name)
}

fn string(words: &mut Words) -> Result<(Word, String), ParseError> {
    let mut word = words.take();
    match std::mem::replace(&mut word.token, Token::End) {
        Token::Text(text) => Ok((word, text)),
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
