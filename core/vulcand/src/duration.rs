//! Go's durations as text: `1m30s`, `100ms`, `1.5h`.

use std::time::Duration;

/// Longer ones are refused.
const SECONDS_MAX: f64 = 366.0 * 24.0 * 3600.0;

/// Empty and `0` are none.
pub(crate) fn parse(text: &str) -> Result<Option<Duration>, String> {
    let wrong = || format!("{text:?} is no duration (as in 5s, 100ms, 1m30s)");
    let mut rest = text;
    let mut seconds = 0.0;
    if matches!(rest, "" | "0") {
        return Ok(None);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let length = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..length] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        rest = &rest[length..];
        seconds += number * unit;
    }
    if !(0.0..=SECONDS_MAX).contains(&seconds) {
        return Err(format!("{text:?} is longer than a year"));
    }
    Ok((seconds > 0.0).then(|| Duration::from_secs_f64(seconds)))
}

#[cfg(test)]
mod tests {
    use super::parse;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn gos_durations() {
        assert_eq!(parse("1m30s"), Ok(Some(Duration::from_secs(90))));
        assert_eq!(parse("100ms"), Ok(Some(Duration::from_millis(100))));
        assert_eq!(parse("1.5h"), Ok(Some(Duration::from_secs(5400))));
        assert_eq!(parse(""), Ok(None));
        assert_eq!(parse("0s"), Ok(None));
        for text in ["5", "s", "-5s", "1x", "1.2.3s", "9999999h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text in ".{0,40}") {
            let _either = parse(&text);
        }
    }
}
