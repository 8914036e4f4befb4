//! What a token has to say.

use crate::spec::{Fields, SpecError};
use serde_json::{Map, Value};
use std::time::Duration;

/// Clocks differ by no more.
const LEEWAY_MAX: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub struct Expected {
    issuers: Vec<String>,
    audiences: Vec<String>,
    /// Claim, and the texts of which it has to be, or to hold, one.
    claims: Vec<(String, Vec<String>)>,
    leeway_seconds: f64,
    expiry_required: bool,
}

impl Expected {
    pub fn read(fields: &mut Fields) -> Result<Self, SpecError> {
        let issuers = fields.texts("Issuers")?;
        let audiences = fields.texts("Audiences")?;
        let mut claims = Vec::new();
        for (claim, value) in fields.map("Claims")? {
            let texts = texts(&value).filter(|texts| !texts.is_empty());
            let wrong = || fields.error("Claims", format!("{claim}: expected a string or a list of strings"));
            claims.push((claim.clone(), texts.ok_or_else(wrong)?));
        }
        let leeway = fields.duration("Leeway")?.unwrap_or_default();
        if leeway > LEEWAY_MAX {
            return Err(fields.error("Leeway", format!("at most {} s", LEEWAY_MAX.as_secs())));
        }
        let expiry_required = !fields.flag("AllowNoExpiry")?;
        Ok(Self { issuers, audiences, claims, leeway_seconds: leeway.as_secs_f64(), expiry_required })
    }

    pub fn check(&self, claims: &Map<String, Value>, unix_seconds: u64) -> Result<(), &'static str> {
        let now = unix_seconds as f64;
        match date(claims, "exp")? {
            Some(expires) if now >= expires + self.leeway_seconds => return Err("the token expired"),
            None if self.expiry_required => return Err("the token never expires"),
            _ => {}
        }
        if date(claims, "nbf")?.is_some_and(|from| now + self.leeway_seconds < from) {
            return Err("the token is not valid yet");
        }
        if !is_among(claims.get("iss"), &self.issuers) {
            return Err("the token's issuer is not expected");
        }
        if !is_among(claims.get("aud"), &self.audiences) {
            return Err("the token is for others");
        }
        if !self.claims.iter().all(|(claim, expected)| is_among(claims.get(claim), expected)) {
            return Err("the token does not say what is expected");
        }
        Ok(())
    }
}

/// RFC 7519, section 2: seconds since the epoch, fractions allowed.
fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, &'static str> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or("the token's dates cannot be read"),
    }
}

/// Whether a claim is, or holds, one of the texts; where none is expected, anything goes.
fn is_among(claim: Option<&Value>, expected: &[String]) -> bool {
    expected.is_empty() || claim.and_then(texts).is_some_and(|found| found.iter().any(|text| expected.contains(text)))
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(values) => values.iter().map(|value| value.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}
