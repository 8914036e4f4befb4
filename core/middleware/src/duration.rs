//! Go's durations: as text (`1m30s`, `100ms`, `1.5h`) and as nanoseconds, exactly.

use std::fmt;
use std::time::Duration;

/// Longer ones are refused.
const NANOS_MAX: u128 = 366 * 24 * 3600 * 1_000_000_000;
/// Digits of one number, before and after the point.
const DIGITS_MAX: usize = 18;

/// Empty and zero are none.
pub fn parse(text: &str) -> Result<Option<Duration>, String> {
    let wrong = || format!("{text:?} is no duration (as in 5s, 100ms, 1m30s)");
    if matches!(text, "" | "0") {
        return Ok(None);
    }
    let mut rest = text;
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let number = take_while(&mut rest, |c| c.is_ascii_digit() || c == '.');
        let unit = take_while(&mut rest, |c| !c.is_ascii_digit() && c != '.');
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let unreadable = fraction.contains('.') || whole.is_empty() && fraction.is_empty();
        if unreadable || whole.len() > DIGITS_MAX || fraction.len() > DIGITS_MAX {
            return Err(wrong());
        }
        let unit_nanos: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(wrong()),
        };
        let digits = |digits: &str| digits.parse::<u128>().unwrap_or(0);
        nanos += digits(whole) * unit_nanos + digits(fraction) * unit_nanos / 10u128.pow(fraction.len() as u32);
        if nanos > NANOS_MAX {
            return Err(format!("{text:?} is longer than a year"));
        }
    }
    Ok((nanos > 0).then(|| Duration::from_nanos(nanos as u64)))
}

/// Zero is none.
pub fn from_nanos(nanos: i64) -> Result<Option<Duration>, String> {
    match u64::try_from(nanos) {
        Ok(nanos) if u128::from(nanos) <= NANOS_MAX => Ok((nanos > 0).then(|| Duration::from_nanos(nanos))),
        Ok(_) => Err("longer than a year".to_owned()),
        Err(_) => Err("negative".to_owned()),
    }
}

fn take_while<'a>(rest: &mut &'a str, belongs: fn(char) -> bool) -> &'a str {
    let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
    let (taken, left) = rest.split_at(end);
    *rest = left;
    taken
}

/// As Go's `Duration.String` prints it: `1m30s`, `1.5s`, `999ms`, `0s`.
pub struct GoDuration(pub Duration);

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let (divisor, unit) = match nanos {
            0 => return f.write_str("0s"),
            1..1_000 => return write!(f, "{nanos}ns"),
            1_000..1_000_000 => (1_000, "µs"),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        let (whole, fraction) = (nanos / divisor, nanos % divisor);
        let (hours, minutes) = (whole / 3600, whole / 60 % 60);
        let shown = if divisor == 1_000_000_000 { whole % 60 } else { whole };
        if divisor == 1_000_000_000 && hours > 0 {
            write!(f, "{hours}h{minutes}m")?;
        } else if divisor == 1_000_000_000 && minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        if fraction == 0 {
            return write!(f, "{shown}{unit}");
        }
        let places = divisor.ilog10() as usize;
        let digits = format!("{fraction:0places$}");
        write!(f, "{shown}.{}{unit}", digits.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gos_durations() {
        for (text, millis) in [("1m30s", 90_000), ("100ms", 100), ("1.5h", 5_400_000), (".5s", 500), ("2us5ms", 5)] {
            assert_eq!(parse(text).unwrap().unwrap().as_millis(), millis, "{text}");
        }
        assert_eq!((parse(""), parse("0"), parse("0s")), (Ok(None), Ok(None), Ok(None)));
        for text in ["5", "s", "-5s", "1x", "1.2.3s", "9999999h", ".s", "1 s", "9999999999999999999s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn printed_as_go_prints_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (999_000_000, "999ms"),
            (1_000_000_000, "1s"),
            (1_500_000_000, "1.5s"),
            (90_000_000_000, "1m30s"),
            (100_000_000_000, "1m40s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_661_000_000_001, "1h1m1.000000001s"),
        ] {
            assert_eq!(GoDuration(Duration::from_nanos(nanos)).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read(nanos in 1u64..3_000_000_000_000_000) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&GoDuration(duration).to_string()), Ok(Some(duration)));
        }

        #[test]
        fn any_text_is_safe(text in ".{0,40}") {
            let _either = parse(&text);
        }
    }
}
