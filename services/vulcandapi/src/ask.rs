//! The body of a request that writes: `{"Frontend": {…}, "TTL": "5s"}`, names in any case, as Go reads them.

use crate::failure::Failure;
use axum::body::Body;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::Value;
use std::time::Duration;
use vulcand::shape::Object;

/// Bytes the body of one request may hold: one object, as large as the edge reads it.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// How long an object may live at most.
const TTL_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// An object to write.
#[derive(Debug)]
pub(crate) struct Ask {
    pub object: Object,
    /// Without one it lives until it is deleted.
    pub ttl: Option<Duration>,
}

impl Ask {
    /// `member` is the object's name in the body. A lifetime may stand in the query, too (`?ttl=5s`).
    pub fn read(body: &[u8], member: &'static str, query: Option<&str>) -> Result<Self, Failure> {
        let body = serde_json::from_slice(body).map_err(|error| Failure::Invalid(format!("invalid JSON: {error}")))?;
        let Value::Object(body) = body else { return Err(Failure::Invalid("expected a JSON object".into())) };
        let (mut object, mut ttl) = (None, None);
        for (name, value) in body {
            if name.eq_ignore_ascii_case(member) {
                object = Some(value);
            } else if name.eq_ignore_ascii_case("TTL") && !value.is_null() {
                let Value::String(text) = value else { return Err(Failure::field("TTL", "expected a string")) };
                ttl = Some(text);
            }
        }
        let object = match object {
            Some(Value::Object(object)) => object,
            None | Some(Value::Null) => {
                return Err(Failure::Invalid(format!("Missing mandatory parameter: {member}")));
            }
            Some(_) => return Err(Failure::field(member, "expected an object")),
        };
        let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let ttl = ttl.or_else(|| pairs.find(|(name, _)| name == "ttl").map(|(_, text)| text.into_owned()));
        let ttl = match ttl {
            Some(text) => middleware::duration::parse(&text).map_err(|reason| Failure::field("TTL", reason))?,
            None => None,
        };
        match ttl {
            Some(ttl) if ttl > TTL_MAX => Err(Failure::field("TTL", "longer than a year")),
            ttl => Ok(Self { object, ttl }),
        }
    }
}

/// Reads a bounded body of JSON. A page of another site can make a browser send a form or text, but no JSON.
pub(crate) async fn json_body(headers: &HeaderMap, body: Body) -> Result<bytes::Bytes, Failure> {
    if let Some(kind) = headers.get(CONTENT_TYPE) {
        let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(Failure::MediaType);
        }
    }
    bounded_body(body).await
}

pub(crate) async fn bounded_body(body: Body) -> Result<bytes::Bytes, Failure> {
    let read = axum::body::to_bytes(body, BODY_BYTES_MAX).await;
    read.map_err(|_| Failure::TooLarge { bytes_max: BODY_BYTES_MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_and_its_lifetime_are_found() {
        let ask = Ask::read(br#"{"server":{"Id":"s"},"ttl":"1m5s","More":1}"#, "Server", None).unwrap();
        assert_eq!((ask.object["Id"].as_str(), ask.ttl), (Some("s"), Some(Duration::from_secs(65))));
        let ask = |body: &str, query| Ask::read(body.as_bytes(), "Server", query).unwrap().ttl;
        assert_eq!(ask(r#"{"Server":{},"TTL":"0s"}"#, None), None);
        assert_eq!(ask(r#"{"Server":{}}"#, Some("a=b&ttl=5s")), Some(Duration::from_secs(5)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, expected) in [
            ("", "invalid JSON: EOF while parsing a value at line 1 column 0"),
            ("[]", "expected a JSON object"),
            ("{}", "Missing mandatory parameter: Server"),
            (r#"{"Server":[]}"#, "Server: expected an object"),
            (r#"{"Server":{},"TTL":5}"#, "TTL: expected a string"),
            (r#"{"Server":{},"TTL":"5"}"#, "TTL: \"5\" is no duration (as in 5s, 100ms, 1m30s)"),
        ] {
            assert_eq!(Ask::read(body.as_bytes(), "Server", None).unwrap_err().to_string(), expected);
        }
    }
}
