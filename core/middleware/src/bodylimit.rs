//! `bodylimit`: how long a request's body may be; 413 beyond. A declared length is refused before a byte is forwarded; a
//! body in chunks is cut when it turns out longer.

use crate::answer::Answer;
use crate::spec::{Fields, SpecError};
use crate::step::{Seen, Step, Verdict};

#[derive(Debug)]
pub(crate) struct BodyLimit {
    request_bytes_max: u64,
}

impl BodyLimit {
    pub fn read(mut fields: Fields) -> Result<Self, SpecError> {
        let bytes = fields.bounded("MaxRequestBytes", 0, i64::MAX)?;
        let request_bytes_max = bytes.ok_or_else(|| fields.error("MaxRequestBytes", "is missing"))?;
        fields.done()?;
        Ok(Self { request_bytes_max })
    }
}

impl Step for BodyLimit {
    fn request<'c>(&'c self, seen: &mut Seen<'_, 'c>) -> Verdict<'c> {
        let max = self.request_bytes_max;
        if seen.request.body_bytes.is_some_and(|bytes| bytes > max) {
            return Verdict::Answer(Answer::error(413, &format!("the body is longer than {max} bytes")));
        }
        let known = seen.limits.request_body_bytes_max.unwrap_or(u64::MAX);
        seen.limits.request_body_bytes_max = Some(known.min(max));
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{answer, chain, passage, refusal, request};
    use serde_json::json;

    #[test]
    fn long_bodies_are_refused_and_unknown_ones_bounded() {
        let chain = chain("bodylimit", json!({"MaxRequestBytes": 10}));
        let none: [(&str, &str); 0] = [];
        let sized = |body_bytes| crate::Request { body_bytes, ..request("POST", "/", &none) };
        assert_eq!(answer(&chain, &sized(Some(11))).status, 413);
        assert_eq!(passage(&chain, &sized(Some(10))).limits.request_body_bytes_max, Some(10));
        assert_eq!(passage(&chain, &sized(None)).limits.request_body_bytes_max, Some(10));
        assert!(refusal("bodylimit", json!({})).starts_with("MaxRequestBytes"));
    }
}
