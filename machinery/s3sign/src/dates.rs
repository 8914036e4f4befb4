//! The three ways S3 clients write a date.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// `20130524T000000Z`, V4's own.
const BASIC: &str = "%Y%m%dT%H%M%SZ";
/// `Fri, 24 May 2013 00:00:00 GMT`, RFC 9110's.
const HTTP: &str = "%a, %d %b %Y %H:%M:%S GMT";

/// Reads V4's basic format or RFC 1123's. Go's `time.RFC1123`, and so the article's page, writes "UTC" where RFC 9110
/// asks for "GMT".
pub fn parse_date(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(civil) = DateTime::strptime(BASIC, text) {
        return civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    }
    let zones = [" GMT", " UTC", " UT", " +0000", " -0000"];
    let civil = zones.iter().find_map(|zone| text.strip_suffix(zone))?;
    // The week day is decoration: read past it, so that a wrong one is not an error.
    let civil = civil.split_once(',').map_or(civil, |(_, rest)| rest).trim();
    let civil = DateTime::strptime("%d %b %Y %H:%M:%S", civil).ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// `20130524T000000Z`
pub(crate) fn basic(time: Timestamp) -> String {
    format(BASIC, time)
}

/// `20130524`
pub(crate) fn day(time: Timestamp) -> String {
    format("%Y%m%d", time)
}

/// `Fri, 24 May 2013 00:00:00 GMT`
pub fn http_date(time: Timestamp) -> String {
    format(HTTP, time)
}

fn format(pattern: &str, time: Timestamp) -> String {
    strtime::format(pattern, &time.to_zoned(TimeZone::UTC))
        .expect("the patterns are constant and need no time zone name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_s_date_is_read() {
        let time: Timestamp = "2015-01-11T12:53:12Z".parse().unwrap();
        for text in [
            "Sun, 11 Jan 2015 12:53:12 UTC",
            "Sun, 11 Jan 2015 12:53:12 GMT",
            "Sun, 11 Jan 2015 12:53:12 +0000",
            "11 Jan 2015 12:53:12 GMT",
            "20150111T125312Z",
        ] {
            assert_eq!(parse_date(text), Some(time), "{text}");
        }
        for text in ["", "yesterday", "20150111", "Sun, 11 Jan 2015 12:53:12 CET", "20151311T125312Z", "é GMT"] {
            assert_eq!(parse_date(text), None, "{text}");
        }
        assert_eq!(http_date(time), "Sun, 11 Jan 2015 12:53:12 GMT");
        assert_eq!(basic(time), "20150111T125312Z");
        assert_eq!(day(time), "20150111");
    }
}
