//! Conditional requests: reads by RFC 9110, 13.2.2; writes by S3's `If-None-Match` and `If-Match`.

use crate::fault::{Fault, Result};
use http::HeaderMap;
use objectlog::{Condition, Object};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Proceed,
    NotModified,
    Failed,
}

/// `prefix` is empty, or `x-amz-copy-source-` for the source of a copy.
pub fn of_read(headers: &HeaderMap, prefix: &str, object: &Object) -> Verdict {
    let header = |name: &str| headers.get(format!("{prefix}{name}")).and_then(|value| value.to_str().ok());
    let modified_second = object.modified_ms.div_euclid(1000);
    let date = |name: &str| header(name).and_then(s3sign::parse_date).map(|date| date.as_second());
    match header("if-match") {
        Some(etags) if !etag_matches(etags, &object.etag) => return Verdict::Failed,
        Some(_) => {}
        None if date("if-unmodified-since").is_some_and(|date| modified_second > date) => return Verdict::Failed,
        None => {}
    }
    match header("if-none-match") {
        Some(etags) if etag_matches(etags, &object.etag) => Verdict::NotModified,
        Some(_) => Verdict::Proceed,
        None if date("if-modified-since").is_some_and(|date| modified_second <= date) => Verdict::NotModified,
        None => Verdict::Proceed,
    }
}

pub fn of_write(headers: &HeaderMap) -> Result<Condition> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    match (header("if-none-match"), header("if-match")) {
        (None, None) => Ok(Condition::Always),
        (Some("*"), None) => Ok(Condition::Absent),
        (Some(etag), None) => Ok(Condition::Differs(unquoted(etag).to_owned())),
        (None, Some(etag)) => Ok(Condition::Matches(unquoted(etag).to_owned())),
        (Some(_), Some(_)) => Err(Fault::not_implemented()),
    }
}

pub fn unquoted(etag: &str) -> &str {
    let etag = etag.trim();
    let etag = etag.strip_prefix("W/").unwrap_or(etag);
    etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).unwrap_or(etag)
}

fn etag_matches(list: &str, etag: &str) -> bool {
    list.split(',').map(unquoted).any(|candidate| candidate == "*" || candidate == etag)
}
