//! `Range` of a blob and `Content-Range` of a chunk.

use std::ops::RangeInclusive;

/// What of a blob is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Whole,
    Part(RangeInclusive<u64>),
    /// Nothing of it is there.
    Nothing,
}

/// Reads a `Range` header (RFC 9110, section 14.2). Several ranges at once, other units and what does not parse are
/// ignored, as a server may.
pub fn wanted(header: Option<&str>, bytes: u64) -> Wanted {
    let Some(range) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else { return Wanted::Whole };
    let Some((first, last)) = range.trim().split_once('-') else { return Wanted::Whole };
    match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first > last => Wanted::Whole,
        (Ok(first), _) if first >= bytes && (last.trim().is_empty() || last.trim().parse::<u64>().is_ok()) => {
            Wanted::Nothing
        }
        (Ok(first), Ok(last)) => Wanted::Part(first..=last.min(bytes - 1)),
        (Ok(first), Err(_)) if last.trim().is_empty() => Wanted::Part(first..=bytes - 1),
        (Err(_), Ok(0)) if first.trim().is_empty() => Wanted::Nothing,
        (Err(_), Ok(count)) if first.trim().is_empty() && bytes > 0 => {
            Wanted::Part(bytes.saturating_sub(count)..=bytes - 1)
        }
        (Err(_), Ok(_)) if first.trim().is_empty() => Wanted::Nothing,
        _ => Wanted::Whole,
    }
}

/// Reads a chunk's `Content-Range`: `START-END`, without unit (distribution specification, "Pushing a blob in chunks");
/// `bytes START-END/…` is read, too. `None` when it is malformed.
pub fn chunk(header: &str) -> Option<RangeInclusive<u64>> {
    let range = header.trim();
    let range = range.strip_prefix("bytes").map_or(range, |rest| rest.trim_start_matches([' ', '=']));
    let range = range.split('/').next()?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_blob() {
        for (header, expected) in [
            (None, Wanted::Whole),
            (Some("bytes=0-3"), Wanted::Part(0..=3)),
            (Some("bytes=2-"), Wanted::Part(2..=9)),
            (Some("bytes=2-99"), Wanted::Part(2..=9)),
            (Some("bytes=-3"), Wanted::Part(7..=9)),
            (Some("bytes=-30"), Wanted::Part(0..=9)),
            (Some("bytes=10-"), Wanted::Nothing),
            (Some("bytes=10-20"), Wanted::Nothing),
            (Some("bytes=-0"), Wanted::Nothing),
            (Some("bytes=5-2"), Wanted::Whole),
            (Some("bytes=0-1,3-4"), Wanted::Whole),
            (Some("lines=0-1"), Wanted::Whole),
            (Some("bytes=x-y"), Wanted::Whole),
        ] {
            assert_eq!(wanted(header, 10), expected, "{header:?}");
        }
        assert_eq!(wanted(Some("bytes=0-0"), 0), Wanted::Nothing);
        assert_eq!(wanted(Some("bytes=-1"), 0), Wanted::Nothing);
    }

    #[test]
    fn ranges_of_a_chunk() {
        assert_eq!(chunk("0-9"), Some(0..=9));
        assert_eq!(chunk("bytes 5-9/20"), Some(5..=9));
        assert_eq!(chunk("9-5"), None);
        assert_eq!(chunk("x"), None);
    }
}
