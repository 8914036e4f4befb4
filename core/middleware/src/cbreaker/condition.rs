//! The condition language: comparisons of a figure with a number, joined by `&&` and `||` with Go's precedence.
//!
//! | figure | type | |
//! |---|---|---|
//! | `NetworkErrorRatio()` | fraction | of responses with 502 or 504 |
//! | `ResponseCodeRatio(500, 600, 0, 600)` | fraction | of codes from 500 up to 600 exclusive, among those from 0 to 600; 0 when there are none |
//! | `LatencyAtQuantileMS(50.0)` | integer | milliseconds; the quantile is a fraction, in percent |
//! | `RequestThreshold()` | integer | responses counted |
//!
//! A fraction is compared with a fraction (`0.5`, not `1`), an integer with an integer, as in oxy; the types are checked
//! when the text is read, so that evaluation cannot fail.

use super::lexer::{ConditionError, Token, Word, words};
use super::statistics::Statistics;

/// Bytes one condition may have.
const CONDITION_BYTES_MAX: usize = 4 * 1024;
/// Parentheses may be nested this deep.
const NESTING_MAX: usize = 64;

#[derive(Clone, Debug)]
pub enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Fraction(Fraction, Comparison, f64),
    Integer(Integer, Comparison, i64),
}

#[derive(Clone, Copy, Debug)]
pub enum Fraction {
    NetworkErrors,
    /// Codes of the numerator and of the denominator, half-open.
    Codes {
        from: i64,
        to: i64,
        of_from: i64,
        of_to: i64,
    },
}

#[derive(Clone, Copy, Debug)]
pub enum Integer {
    LatencyMillis { quantile_percent: f64 },
    Responses,
}

#[derive(Clone, Copy, Debug)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

enum Figure {
    Fraction(Fraction),
    Integer(Integer),
}

impl Condition {
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        if text.len() > CONDITION_BYTES_MAX {
            return Err(ConditionError::new(1, format!("the condition has more than {CONDITION_BYTES_MAX} bytes")));
        }
        let mut parser = Parser { words: words(text)?, next: 0 };
        let condition = parser.any(0)?;
        let end = parser.take();
        match end.token {
            Token::End => Ok(condition),
            other => Err(ConditionError::new(end.column, format!("expected `&&`, `||` or the end, found {other}"))),
        }
    }

    pub fn holds(&self, statistics: &Statistics, now_nanos: u64) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(statistics, now_nanos)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(statistics, now_nanos)),
            Self::Fraction(figure, comparison, bound) => comparison.holds(figure.of(statistics, now_nanos), *bound),
            Self::Integer(figure, comparison, bound) => comparison.holds(figure.of(statistics, now_nanos), *bound),
        }
    }

    /// Histograms are kept only for those who look at them.
    pub fn needs_latency(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::needs_latency),
            Self::Fraction(..) => false,
            Self::Integer(figure, ..) => matches!(figure, Integer::LatencyMillis { .. }),
        }
    }
}

impl Fraction {
    fn of(self, statistics: &Statistics, now_nanos: u64) -> f64 {
        let ratio = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        match self {
            Self::NetworkErrors => {
                let errors = statistics.count(now_nanos, |code| matches!(code, 502 | 504));
                ratio(errors, statistics.count(now_nanos, |_| true))
            }
            Self::Codes { from, to, of_from, of_to } => ratio(
                statistics.count(now_nanos, |code| (from..to).contains(&i64::from(code))),
                statistics.count(now_nanos, |code| (of_from..of_to).contains(&i64::from(code))),
            ),
        }
    }
}

impl Integer {
    fn of(self, statistics: &Statistics, now_nanos: u64) -> i64 {
        match self {
            Self::LatencyMillis { quantile_percent } => statistics.latency_millis(quantile_percent, now_nanos),
            Self::Responses => i64::try_from(statistics.count(now_nanos, |_| true)).unwrap_or(i64::MAX),
        }
    }
}

impl Comparison {
    fn of(token: &Token) -> Option<Self> {
        let Token::Sign(sign) = token else { return None };
        Some(match *sign {
            "==" => Self::Equal,
            "!=" => Self::NotEqual,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    fn holds<T: PartialOrd>(self, left: T, right: T) -> bool {
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

struct Parser {
    words: Vec<Word>,
    next: usize,
}

impl Parser {
    fn any(&mut self, depth: usize) -> Result<Condition, ConditionError> {
        self.joined(depth, "||", Self::all, Condition::Any)
    }

    fn all(&mut self, depth: usize) -> Result<Condition, ConditionError> {
        self.joined(depth, "&&", Self::part, Condition::All)
    }

    fn joined(
        &mut self,
        depth: usize,
        sign: &'static str,
        part: fn(&mut Self, usize) -> Result<Condition, ConditionError>,
        join: fn(Vec<Condition>) -> Condition,
    ) -> Result<Condition, ConditionError> {
        let first = part(self, depth)?;
        if self.peek().token != Token::Sign(sign) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.peek().token == Token::Sign(sign) {
            self.take();
            parts.push(part(self, depth)?);
        }
        Ok(join(parts))
    }

    /// A comparison, or a condition in parentheses.
    fn part(&mut self, depth: usize) -> Result<Condition, ConditionError> {
        if self.peek().token == Token::Sign("(") {
            let open = self.take();
            if depth == NESTING_MAX {
                let message = format!("more than {NESTING_MAX} nested parentheses");
                return Err(ConditionError::new(open.column, message));
            }
            let inner = self.any(depth + 1)?;
            self.expect(")")?;
            return Ok(inner);
        }
        let figure = self.figure()?;
        let operator = self.take();
        let comparison = Comparison::of(&operator.token).ok_or_else(|| {
            ConditionError::new(operator.column, format!("expected a comparison, found {}", operator.token))
        })?;
        let bound = self.take();
        match (figure, bound.token) {
            (Figure::Fraction(figure), Token::Float(number)) => Ok(Condition::Fraction(figure, comparison, number)),
            (Figure::Integer(figure), Token::Integer(number)) => Ok(Condition::Integer(figure, comparison, number)),
            (Figure::Fraction(_), other) => {
                Err(ConditionError::new(bound.column, format!("expected a fraction as in 0.5, found {other}")))
            }
            (Figure::Integer(_), other) => {
                Err(ConditionError::new(bound.column, format!("expected an integer, found {other}")))
            }
        }
    }

    fn figure(&mut self) -> Result<Figure, ConditionError> {
        let word = self.take();
        let wrong = |found: &str| ConditionError::new(word.column, format!("expected {FIGURES}, found {found}"));
        let Token::Name(name) = &word.token else { return Err(wrong(&word.token.to_string())) };
        if !matches!(
            name.as_str(),
            "NetworkErrorRatio" | "ResponseCodeRatio" | "LatencyAtQuantileMS" | "RequestThreshold"
        ) {
            return Err(wrong(&word.token.to_string()));
        }
        self.expect("(")?;
        let figure = match name.as_str() {
            "NetworkErrorRatio" => Figure::Fraction(Fraction::NetworkErrors),
            "RequestThreshold" => Figure::Integer(Integer::Responses),
            "LatencyAtQuantileMS" => Figure::Integer(Integer::LatencyMillis { quantile_percent: self.quantile()? }),
            _ => {
                let from = self.code()?;
                self.expect(",")?;
                let to = self.code()?;
                self.expect(",")?;
                let of_from = self.code()?;
                self.expect(",")?;
                Figure::Fraction(Fraction::Codes { from, to, of_from, of_to: self.code()? })
            }
        };
        self.expect(")")?;
        Ok(figure)
    }

    fn quantile(&mut self) -> Result<f64, ConditionError> {
        let word = self.take();
        match word.token {
            Token::Float(percent) if percent <= 100.0 => Ok(percent),
            other => Err(ConditionError::new(word.column, format!("expected 0.0 to 100.0, found {other}"))),
        }
    }

    fn code(&mut self) -> Result<i64, ConditionError> {
        let word = self.take();
        match word.token {
            Token::Integer(code) => Ok(code),
            other => Err(ConditionError::new(word.column, format!("expected a status code, found {other}"))),
        }
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), ConditionError> {
        let word = self.take();
        if word.token == Token::Sign(sign) {
            return Ok(());
        }
        Err(ConditionError::new(word.column, format!("expected `{sign}`, found {}", word.token)))
    }

    fn peek(&self) -> &Word {
        &self.words[self.next]
    }

    /// The end is taken again and again.
    fn take(&mut self) -> Word {
        let word = self.words[self.next].clone();
        self.next = (self.next + 1).min(self.words.len() - 1);
        word
    }
}

const FIGURES: &str = "NetworkErrorRatio(), ResponseCodeRatio(…), LatencyAtQuantileMS(…) or RequestThreshold()";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn statistics(responses: &[(u16, u32)], latency: Duration) -> Statistics {
        let mut statistics = Statistics::new(true);
        for (code, count) in responses {
            (0..*count).for_each(|_| statistics.record(*code, latency, 0));
        }
        statistics
    }

    #[test]
    fn oxys_table() {
        let network = statistics(&[(504, 60), (200, 40)], Duration::ZERO);
        let slow = statistics(&[(200, 1)], Duration::from_millis(51));
        let bad = statistics(&[(200, 5), (500, 6)], Duration::ZERO);
        let good = statistics(&[(200, 5), (500, 4)], Duration::ZERO);
        for (text, statistics, expected) in [
            ("NetworkErrorRatio() > 0.5", &network, true),
            ("NetworkErrorRatio() < 0.5", &network, false),
            ("LatencyAtQuantileMS(50.0) > 50", &slow, true),
            ("LatencyAtQuantileMS(50.0) < 50", &slow, false),
            ("ResponseCodeRatio(500, 600, 0, 600) > 0.5", &bad, true),
            ("ResponseCodeRatio(500, 600, 0, 600) > 0.5", &good, false),
            ("ResponseCodeRatio(500, 600, 300, 400) == 0.0", &bad, true),
            ("LatencyAtQuantileMS(40.0) > 50", &network, false),
            ("RequestThreshold() >= 100 && NetworkErrorRatio() >= 0.6", &network, true),
            ("RequestThreshold() > 100 && NetworkErrorRatio() >= 0.6", &network, false),
            (
                "NetworkErrorRatio() > 0.9 || RequestThreshold() == 100 && LatencyAtQuantileMS(99.9) <= 0",
                &network,
                true,
            ),
            ("(NetworkErrorRatio() > 0.9 || RequestThreshold() == 100) && RequestThreshold() != 100", &network, false),
        ] {
            assert_eq!(Condition::parse(text).unwrap().holds(statistics, 0), expected, "{text}");
        }
    }

    #[test]
    fn types_and_arguments_are_checked_when_read() {
        for (text, column) in [
            ("", 1),
            ("NetworkErrorRatio()", 20),
            ("NetworkErrorRatio() > 1", 23),
            ("LatencyAtQuantileMS(50) > 50", 21),
            ("LatencyAtQuantileMS(50.0) > 50.0", 29),
            ("LatencyAtQuantileMS(150.0) > 50", 21),
            ("ResponseCodeRatio(500, 600, 0) > 0.5", 30),
            ("ResponseCodeRatio(500.0, 600, 0, 600) > 0.5", 19),
            ("0.5 < NetworkErrorRatio()", 1),
            ("!NetworkErrorRatio() > 0.5", 1),
            ("NetworkErrorRatio > 0.5", 19),
            ("Nonsense() > 0.5", 1),
            ("NetworkErrorRatio() > 0.5 garbage", 27),
            ("NetworkErrorRatio() > 0.5)", 26),
            ("NetworkErrorRatio() > 0.5.5", 23),
            ("whut?", 5),
        ] {
            assert_eq!(Condition::parse(text).unwrap_err().column, column, "{text}");
        }
        assert!(Condition::parse(&"(".repeat(4000)).is_err());
    }

    proptest! {
        #[test]
        fn the_parser_never_panics(
            words in proptest::collection::vec(
                proptest::sample::select(vec![
                    "NetworkErrorRatio()", "LatencyAtQuantileMS(", "50.0", "ResponseCodeRatio(500,600,0,600)", "(", ")",
                    "&&", "||", "==", "<", ">=", "1", ".", "é", "!", ",", "99999999999999999999",
                ]),
                0..30,
            )
        ) {
            if let Ok(condition) = Condition::parse(&words.join(" ")) {
                let _either = condition.holds(&Statistics::new(true), 0);
            }
        }

        #[test]
        fn any_text_is_safe(text in ".{0,60}") {
            let _either = Condition::parse(&text);
        }
    }
}
