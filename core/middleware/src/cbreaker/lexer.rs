//! Words of a condition. The route and failover languages have a lexer of their own, without fractions; this one is all
//! that a condition needs.

use std::fmt;

/// Where a condition stops making sense, and why. Columns count characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct ConditionError {
    pub column: usize,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Name(String),
    Integer(i64),
    Float(f64),
    /// An operator, a parenthesis or a comma.
    Sign(&'static str),
    End,
}

#[derive(Clone, Debug)]
pub struct Word {
    pub column: usize,
    pub token: Token,
}

/// Longer signs first.
const SIGNS: [&str; 11] = ["&&", "||", "==", "!=", "<=", ">=", "<", ">", "(", ")", ","];

impl ConditionError {
    pub fn new(column: usize, message: impl Into<String>) -> Self {
        Self { column, message: message.into() }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "`{name}`"),
            Self::Integer(number) => write!(f, "`{number}`"),
            Self::Float(number) => write!(f, "`{number:?}`"),
            Self::Sign(sign) => write!(f, "`{sign}`"),
            Self::End => f.write_str("the end"),
        }
    }
}

/// The words of a text; the last is [`Token::End`].
pub fn words(text: &str) -> Result<Vec<Word>, ConditionError> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        let column = text[..text.len() - rest.len()].chars().count() + 1;
        let Some(first) = rest.chars().next() else {
            words.push(Word { column, token: Token::End });
            return Ok(words);
        };
        let (token, length) = match first {
            '0'..='9' => number(rest).map_err(|message| ConditionError::new(column, message))?,
            'A'..='Z' | 'a'..='z' | '_' => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                (Token::Name(rest[..end].to_owned()), end)
            }
            _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                Some(sign) => (Token::Sign(sign), sign.len()),
                None => return Err(ConditionError::new(column, format!("unexpected character {first:?}"))),
            },
        };
        words.push(Word { column, token });
        rest = &rest[length..];
    }
}

fn number(rest: &str) -> Result<(Token, usize), String> {
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let text = &rest[..end];
    let token = match text.contains('.') {
        true => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Token::Float),
        false => text.parse().ok().map(Token::Integer),
    };
    token.map(|token| (token, end)).ok_or_else(|| format!("{text} is no number"))
}
