//! `Content-Range` of a chunk. (`Range` of a blob: `web::range`.)

use std::ops::RangeInclusive;

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
    fn ranges_of_a_chunk() {
        assert_eq!(chunk("0-9"), Some(0..=9));
        assert_eq!(chunk("bytes 5-9/20"), Some(5..=9));
        assert_eq!(chunk("9-5"), None);
        assert_eq!(chunk("x"), None);
    }
}
