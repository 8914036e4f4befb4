//! Failover predicates, vulcand's: after an attempt, whether the request may go to another server. For example
//! `(IsNetworkError() || ResponseCode() == 503) && Attempts() <= 2`.
//!
//! `IsNetworkError()` is true after a 502 or 504 (the proxy's own, or a server's), `Attempts()` is 1 after the first,
//! `ResponseCode()` and `RequestMethod()` are what they say. Operators are `&& || == != < <= > >=` with Go's precedence.
//! Types are checked when the text is read, so that evaluation cannot fail.

use crate::lexer::{NESTING_MAX, ParseError, Token, Words};
use std::fmt;

/// What vulcand does when a frontend says nothing. HEAD is not in it: the text is kept exactly.
pub const DEFAULT_PREDICATE: &str = r#"IsNetworkError() && RequestMethod() == "GET" && Attempts() < 20"#;
/// Retries of one request, whatever its predicate says (oxy/buffer).
pub const RETRIES_MAX: u32 = 10;
/// Bytes one predicate may have.
pub const PREDICATE_BYTES_MAX: usize = 4 * 1024;

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    pub network_error: bool,
    /// Attempts made so far, this one included.
    pub attempts: u32,
    pub response_code: u16,
    pub method: &'a str,
}

#[derive(Clone, Debug)]
pub struct Predicate {
    text: String,
    root: Condition,
}

#[derive(Clone, Debug)]
enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    NetworkError,
    CompareNumbers(Number, Comparison, Number),
    CompareTexts(Text, Comparison, Text),
    CompareTruths(Box<Condition>, Comparison, Box<Condition>),
}

#[derive(Clone, Debug)]
enum Number {
    Attempts,
    ResponseCode,
    Literal(i64),
}

#[derive(Clone, Debug)]
enum Text {
    Method,
    Literal(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A part of a predicate, of one of the language's three types.
enum Operand {
    Truth(Condition),
    Number(Number),
    Text(Text),
}

impl Predicate {
    /// The empty text is [`DEFAULT_PREDICATE`].
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let text = if text.trim().is_empty() { DEFAULT_PREDICATE } else { text };
        if text.len() > PREDICATE_BYTES_MAX {
            return Err(ParseError::new(1, format!("the predicate has more than {PREDICATE_BYTES_MAX} bytes")));
        }
        let mut words = Words::read(text)?;
        let root = truth(any(&mut words, 0)?, 1)?;
        let end = words.take();
        if end.token != Token::End {
            return Err(ParseError::new(end.column, format!("expected an operator or the end, found {}", end.token)));
        }
        Ok(Self { text: text.to_owned(), root })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether another attempt may be made; never after [`RETRIES_MAX`] retries.
    pub fn allows_retry(&self, attempt: &Attempt<'_>) -> bool {
        attempt.attempts <= RETRIES_MAX && self.root.holds(attempt)
    }

    /// Whether it names this method (`RequestMethod() == "POST"`): then somebody wants such requests to be sent again.
    pub fn names_method(&self, method: &str) -> bool {
        self.root.names_method(method)
    }
}

impl Default for Predicate {
    fn default() -> Self {
        Self::parse(DEFAULT_PREDICATE).expect("a test reads the default")
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Condition {
    fn holds(&self, attempt: &Attempt<'_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(attempt)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(attempt)),
            Self::NetworkError => attempt.network_error,
            Self::CompareNumbers(left, comparison, right) => comparison.holds(&left.of(attempt), &right.of(attempt)),
            Self::CompareTexts(left, comparison, right) => comparison.holds(&left.of(attempt), &right.of(attempt)),
            Self::CompareTruths(left, comparison, right) => {
                comparison.holds(&left.holds(attempt), &right.holds(attempt))
            }
        }
    }
}

impl Condition {
    fn names_method(&self, name: &str) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(|part| part.names_method(name)),
            Self::CompareTexts(Text::Method, Comparison::Equal, Text::Literal(text))
            | Self::CompareTexts(Text::Literal(text), Comparison::Equal, Text::Method) => text == name,
            Self::CompareTruths(left, _, right) => left.names_method(name) || right.names_method(name),
            Self::NetworkError | Self::CompareNumbers(..) | Self::CompareTexts(..) => false,
        }
    }
}

impl Number {
    fn of(&self, attempt: &Attempt<'_>) -> i64 {
        match self {
            Self::Attempts => i64::from(attempt.attempts),
            Self::ResponseCode => i64::from(attempt.response_code),
            Self::Literal(number) => *number,
        }
    }
}

impl Text {
    fn of<'a>(&'a self, attempt: &Attempt<'a>) -> &'a str {
        match self {
            Self::Method => attempt.method,
            Self::Literal(text) => text,
        }
    }
}

impl Comparison {
    fn of(token: &Token) -> Option<Self> {
        Some(match token {
            Token::Equal => Self::Equal,
            Token::NotEqual => Self::NotEqual,
            Token::Less => Self::Less,
            Token::LessOrEqual => Self::LessOrEqual,
            Token::Greater => Self::Greater,
            Token::GreaterOrEqual => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    fn holds<T: PartialOrd + ?Sized>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

fn any(words: &mut Words, depth: usize) -> Result<Operand, ParseError> {
    joined(words, depth, &Token::Or, all, Condition::Any)
}

fn all(words: &mut Words, depth: usize) -> Result<Operand, ParseError> {
    joined(words, depth, &Token::And, comparison, Condition::All)
}

/// One part, or several of type truth joined by `operator`.
fn joined(
    words: &mut Words,
    depth: usize,
    operator: &Token,
    part: fn(&mut Words, usize) -> Result<Operand, ParseError>,
    join: fn(Vec<Condition>) -> Condition,
) -> Result<Operand, ParseError> {
    let column = words.peek().column;
    let first = part(words, depth)?;
    if words.peek().token != *operator {
        return Ok(first);
    }
    let mut parts = vec![truth(first, column)?];
    while words.accept(operator) {
        let column = words.peek().column;
        parts.push(truth(part(words, depth)?, column)?);
    }
    Ok(Operand::Truth(join(parts)))
}

fn comparison(words: &mut Words, depth: usize) -> Result<Operand, ParseError> {
    let left = operand(words, depth)?;
    let Some(comparison) = Comparison::of(&words.peek().token) else { return Ok(left) };
    let column = words.take().column;
    let right = operand(words, depth)?;
    let equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    Ok(Operand::Truth(match (left, right) {
        (Operand::Number(left), Operand::Number(right)) => Condition::CompareNumbers(left, comparison, right),
        (Operand::Text(left), Operand::Text(right)) => Condition::CompareTexts(left, comparison, right),
        (Operand::Truth(left), Operand::Truth(right)) if equality => {
            Condition::CompareTruths(Box::new(left), comparison, Box::new(right))
        }
        _ => return Err(ParseError::new(column, "the two sides cannot be compared")),
    }))
}

fn operand(words: &mut Words, depth: usize) -> Result<Operand, ParseError> {
    let word = words.take();
    let name = match word.token {
        Token::Integer(number) => return Ok(Operand::Number(Number::Literal(number))),
        Token::Text(text) => return Ok(Operand::Text(Text::Literal(text))),
        Token::Open if depth == NESTING_MAX => {
            return Err(ParseError::new(word.column, format!("more than {NESTING_MAX} nested parentheses")));
        }
        Token::Open => {
            let inner = any(words, depth + 1)?;
            words.expect(&Token::Close)?;
            return Ok(inner);
        }
        Token::Name(name) => name,
        other => return Err(ParseError::new(word.column, format!("expected {FUNCTIONS}, found {other}"))),
    };
    let operand = match name.as_str() {
        "IsNetworkError" => Operand::Truth(Condition::NetworkError),
        "Attempts" => Operand::Number(Number::Attempts),
        "ResponseCode" => Operand::Number(Number::ResponseCode),
        "RequestMethod" => Operand::Text(Text::Method),
        other => {
            return Err(ParseError::new(word.column, format!("unknown function `{other}`: expected {FUNCTIONS}")));
        }
    };
    words.expect(&Token::Open)?;
    words.expect(&Token::Close)?;
    Ok(operand)
}

const FUNCTIONS: &str = "IsNetworkError(), Attempts(), ResponseCode(), RequestMethod() or a literal";

fn truth(operand: Operand, column: usize) -> Result<Condition, ParseError> {
    match operand {
        Operand::Truth(condition) => Ok(condition),
        Operand::Number(_) => Err(ParseError::new(column, "a number is neither true nor false: compare it")),
        Operand::Text(_) => Err(ParseError::new(column, "a string is neither true nor false: compare it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(network_error: bool, attempts: u32, response_code: u16, method: &str) -> Attempt<'_> {
        Attempt { network_error, attempts, response_code, method }
    }

    fn allows(text: &str, attempt: Attempt<'_>) -> bool {
        Predicate::parse(text).unwrap().allows_retry(&attempt)
    }

    #[test]
    fn the_default_retries_get_after_network_errors_and_is_capped() {
        let default = Predicate::default();
        assert_eq!(default.as_str(), DEFAULT_PREDICATE);
        assert!(default.allows_retry(&after(true, 1, 502, "GET")));
        assert!(!default.allows_retry(&after(true, 1, 502, "HEAD")));
        assert!(!default.allows_retry(&after(true, 1, 502, "POST")));
        assert!(!default.allows_retry(&after(false, 1, 500, "GET")));
        assert!(default.allows_retry(&after(true, RETRIES_MAX, 502, "GET")));
        assert!(!default.allows_retry(&after(true, RETRIES_MAX + 1, 502, "GET")));
        assert_eq!(Predicate::parse("").unwrap().as_str(), DEFAULT_PREDICATE);
    }

    #[test]
    fn operators_and_precedence() {
        let at = after(false, 2, 503, "GET");
        for (text, expected) in [
            ("ResponseCode() == 503", true),
            ("503 == ResponseCode()", true),
            ("ResponseCode() >= 500 && ResponseCode() < 600", true),
            ("Attempts() != 2", false),
            ("Attempts() <= 2 && Attempts() > 1", true),
            ("IsNetworkError() || ResponseCode() == 503 && Attempts() < 2", false),
            ("(IsNetworkError() || ResponseCode() == 503) && Attempts() < 3", true),
            ("RequestMethod() != `PUT`", true),
            ("IsNetworkError() == (Attempts() > 5)", true),
        ] {
            assert_eq!(allows(text, at), expected, "{text}");
        }
    }

    #[test]
    fn a_method_is_named_when_it_is_asked_for() {
        let names = |text: &str, method: &str| Predicate::parse(text).unwrap().names_method(method);
        assert!(names(r#"IsNetworkError() && (RequestMethod() == "PUT" || "POST" == RequestMethod())"#, "POST"));
        assert!(!names(r#"IsNetworkError() && RequestMethod() != "POST""#, "POST"));
        assert!(!names("IsNetworkError()", "POST") && !names("", "POST") && names("", "GET"));
    }

    #[test]
    fn types_are_checked_when_read() {
        for (text, column) in [
            ("Attempts()", 1),
            ("IsNetworkError() && RequestMethod()", 21),
            ("Attempts() == \"x\"", 12),
            ("IsNetworkError() < IsNetworkError()", 18),
            ("!IsNetworkError()", 1),
            ("Foo() == 1", 1),
            ("Attempts(1) == 1", 10),
            ("Attempts() == 1)", 16),
            ("Attempts() == 99999999999999999999", 15),
        ] {
            assert_eq!(Predicate::parse(text).unwrap_err().column, column, "{text}");
        }
        assert!(Predicate::parse(&"(".repeat(4000)).is_err());
    }

    proptest! {
        #[test]
        fn the_parser_never_panics(
            words in proptest::collection::vec(
                proptest::sample::select(vec![
                    "IsNetworkError()", "Attempts()", "ResponseCode()", "(", ")", "&&", "||", "==", "<", "1", "\"", "é", "!",
                ]),
                0..30,
            )
        ) {
            if let Ok(predicate) = Predicate::parse(&words.join(" ")) {
                let _either = predicate.allows_retry(&after(true, 1, 502, "GET"));
            }
        }
    }
}
