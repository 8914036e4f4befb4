//! Words of the two small languages (route expressions, failover predicates): Go's expression syntax, as far as they use it.

use std::fmt;

/// Parentheses may be nested this deep.
pub(crate) const NESTING_MAX: usize = 64;

/// Where a text stops making sense, and why. Columns count characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct ParseError {
    pub column: usize,
    pub message: String,
}

impl ParseError {
    pub(crate) fn new(column: usize, message: impl Into<String>) -> Self {
        Self { column, message: message.into() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Name(String),
    Text(String),
    Integer(i64),
    Open,
    Close,
    Comma,
    And,
    Or,
    Not,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    End,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self {
            Self::Name(name) => return write!(f, "`{name}`"),
            Self::Text(text) => return write!(f, "the string {text:?}"),
            Self::Integer(number) => return write!(f, "`{number}`"),
            Self::End => return f.write_str("the end"),
            Self::Open => "(",
            Self::Close => ")",
            Self::Comma => ",",
            Self::And => "&&",
            Self::Or => "||",
            Self::Not => "!",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        };
        write!(f, "`{sign}`")
    }
}

/// A token and the column it starts at.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub column: usize,
    pub token: Token,
    /// Of a string: the column of each of its characters, which escapes move.
    columns: Vec<usize>,
}

impl Word {
    /// The column of a string's character, from 0.
    pub fn column_of(&self, character: usize) -> usize {
        self.columns.get(character).copied().unwrap_or(self.column)
    }
}

/// The words of a text, with an [`Token::End`] after the last.
pub(crate) struct Words {
    words: Vec<Word>,
    next: usize,
}

impl Words {
    pub fn read(text: &str) -> Result<Self, ParseError> {
        let mut scanner = Scanner { rest: text.chars().peekable(), column: 1 };
        let mut words = Vec::new();
        loop {
            let word = scanner.word()?;
            let end = word.token == Token::End;
            words.push(word);
            if end {
                return Ok(Self { words, next: 0 });
            }
        }
    }

    pub fn peek(&self) -> &Word {
        // The last word is the end and is never passed.
        &self.words[self.next]
    }

    pub fn take(&mut self) -> Word {
        let word = self.words[self.next].clone();
        self.next = (self.next + 1).min(self.words.len() - 1);
        word
    }

    /// Takes the next word when it is this one.
    pub fn accept(&mut self, token: &Token) -> bool {
        let found = self.peek().token == *token;
        if found {
            self.take();
        }
        found
    }

    pub fn expect(&mut self, token: &Token) -> Result<(), ParseError> {
        if self.accept(token) {
            return Ok(());
        }
        let found = self.peek();
        Err(ParseError::new(found.column, format!("expected {token}, found {}", found.token)))
    }
}

/// A text as a string of the language, which it reads as the same text.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            // Control characters are all among the first 2^16.
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

struct Scanner<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    column: usize,
}

impl Scanner<'_> {
    fn bump(&mut self) -> Option<char> {
        let next = self.rest.next();
        self.column += usize::from(next.is_some());
        next
    }

    fn word(&mut self) -> Result<Word, ParseError> {
        while self.rest.next_if(|c| c.is_ascii_whitespace()).is_some() {
            self.column += 1;
        }
        let column = self.column;
        let Some(first) = self.bump() else { return Ok(Word { column, token: Token::End, columns: Vec::new() }) };
        let mut columns = Vec::new();
        let token = match first {
            '(' => Token::Open,
            ')' => Token::Close,
            ',' => Token::Comma,
            '&' => self.pair('&', Token::And, None, column, first)?,
            '|' => self.pair('|', Token::Or, None, column, first)?,
            '=' => self.pair('=', Token::Equal, None, column, first)?,
            '!' => self.pair('=', Token::NotEqual, Some(Token::Not), column, first)?,
            '<' => self.pair('=', Token::LessOrEqual, Some(Token::Less), column, first)?,
            '>' => self.pair('=', Token::GreaterOrEqual, Some(Token::Greater), column, first)?,
            '`' => Token::Text(self.raw_text(column, &mut columns)?),
            '"' => Token::Text(self.quoted_text(column, &mut columns)?),
            '0'..='9' => self.integer(first, column)?,
            'A'..='Z' | 'a'..='z' | '_' => Token::Name(self.name(first)),
            other => return Err(ParseError::new(column, format!("unexpected character {other:?}"))),
        };
        Ok(Word { column, token, columns })
    }

    fn pair(
        &mut self,
        second: char,
        both: Token,
        alone: Option<Token>,
        column: usize,
        first: char,
    ) -> Result<Token, ParseError> {
        if self.rest.peek() == Some(&second) {
            self.bump();
            return Ok(both);
        }
        alone.ok_or_else(|| ParseError::new(column, format!("expected {both}, found a single `{first}`")))
    }

    fn name(&mut self, first: char) -> String {
        let mut name = String::from(first);
        while let Some(next) = self.rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            self.column += 1;
            name.push(next);
        }
        name
    }

    fn integer(&mut self, first: char, column: usize) -> Result<Token, ParseError> {
        let mut digits = String::from(first);
        while let Some(next) = self.rest.next_if(char::is_ascii_digit) {
            self.column += 1;
            digits.push(next);
        }
        let number = digits.parse().map_err(|_| ParseError::new(column, format!("{digits} is too large")))?;
        Ok(Token::Integer(number))
    }

    fn raw_text(&mut self, column: usize, columns: &mut Vec<usize>) -> Result<String, ParseError> {
        let mut text = String::new();
        loop {
            columns.push(self.column);
            match self.bump() {
                Some('`') => return Ok(text),
                Some(next) => text.push(next),
                None => return Err(ParseError::new(column, "the string that begins here has no closing backtick")),
            }
        }
    }

    fn quoted_text(&mut self, column: usize, columns: &mut Vec<usize>) -> Result<String, ParseError> {
        let mut text = String::new();
        loop {
            let at = self.column;
            columns.push(at);
            match self.bump() {
                Some('"') => return Ok(text),
                Some('\\') => text.push(self.escape(at)?),
                Some('\n') | None => {
                    return Err(ParseError::new(column, "the string that begins here has no closing quote"));
                }
                Some(next) => text.push(next),
            }
        }
    }

    /// Go's escapes; a regexp is easier to read between backticks, where there are none.
    fn escape(&mut self, column: usize) -> Result<char, ParseError> {
        let plain = match self.bump() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some(same @ ('\\' | '"')) => same,
            Some('x') => return self.hexadecimal(2, column),
            Some('u') => return self.hexadecimal(4, column),
            Some('U') => return self.hexadecimal(8, column),
            Some(other) => {
                let message = format!("unknown escape `\\{other}`: write `\\\\{other}`, or quote with backticks");
                return Err(ParseError::new(column, message));
            }
            None => return Err(ParseError::new(column, "the string ends within an escape")),
        };
        Ok(plain)
    }

    fn hexadecimal(&mut self, digits: usize, column: usize) -> Result<char, ParseError> {
        let mut value = 0u32;
        for _ in 0..digits {
            let digit = self.bump().and_then(|c| c.to_digit(16));
            let digit =
                digit.ok_or_else(|| ParseError::new(column, format!("expected {digits} hexadecimal digits")))?;
            value = value.wrapping_mul(16).wrapping_add(digit);
        }
        char::from_u32(value).ok_or_else(|| ParseError::new(column, "the escape is no character"))
    }
}
