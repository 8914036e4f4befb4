//! `ratelimit`: so many requests per period and key; 429 beyond.
//!
//! Where vulcand differs: `Burst` 0 means `Requests` (there it breaks the frontend), a bucket is not forgotten before it
//! would be full again, and fractions of a token are kept.

mod bucket;

use crate::answer::Answer;
use crate::duration::GoDuration;
use crate::keyed::Keyed;
use crate::spec::{Fields, SpecError};
use crate::step::{Seen, Step, Verdict};
use crate::variable::Variable;
use bucket::{Buckets, Rate};
use serde_json::Value;
use std::time::Duration;

/// One year.
const PERIOD_SECONDS_MAX: i64 = 365 * 24 * 3600;
/// Requests per period, and burst.
const REQUESTS_MAX: i64 = 1_000_000_000;
/// Rates that one request may bring with it.
const RATES_MAX: usize = 8;
/// Bytes of the header that brings them.
const RATES_BYTES_MAX: usize = 4 * 1024;
/// Longest period that a request may bring, so that its bucket is kept long enough.
const BROUGHT_PERIOD_SECONDS_MAX: i64 = 24 * 3600;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

#[derive(Debug)]
pub(crate) struct RateLimit {
    rate: Rate,
    variable: Variable,
    /// The header that brings other rates.
    rates_header: Option<String>,
    buckets: Keyed<Buckets>,
}

impl RateLimit {
    pub fn read(mut fields: Fields) -> Result<Self, SpecError> {
        let rate = read_rate(&mut fields, PERIOD_SECONDS_MAX)?;
        let variable = Variable::parse("Variable", &fields.text("Variable")?)?;
        let rates_header = match fields.text("RateVar")?.as_str() {
            "" => None,
            text => match Variable::parse("RateVar", text)? {
                Variable::Header(name) => Some(name),
                _ => return Err(SpecError::new("RateVar", "expected request.header.NAME")),
            },
        };
        let brought = rates_header.as_ref().map_or(0, |_| BROUGHT_PERIOD_SECONDS_MAX as u64 * NANOS_PER_SECOND);
        // oxy keeps a key for ten periods and a second.
        let kept_nanos = (10 * rate.period_nanos + NANOS_PER_SECOND).max(rate.refill_nanos()).max(brought);
        Ok(Self { rate, variable, rates_header, buckets: Keyed::new(kept_nanos) })
    }

    /// What the request brings; nothing, or nonsense, is the middleware's own rate.
    fn brought(&self, seen: &Seen<'_, '_>) -> Option<Vec<Rate>> {
        let text = seen.header(self.rates_header.as_deref()?)?;
        if text.len() > RATES_BYTES_MAX {
            return None;
        }
        let Ok(Value::Array(values)) = serde_json::from_slice(text) else { return None };
        let read = |value: &Value| read_rate(&mut Fields::of(value, "").ok()?, BROUGHT_PERIOD_SECONDS_MAX).ok();
        let mut rates: Vec<Rate> = values.iter().map(read).collect::<Option<_>>()?;
        rates.sort_by_key(|rate| rate.period_nanos);
        rates.dedup_by_key(|rate| rate.period_nanos);
        (1..=RATES_MAX).contains(&rates.len()).then_some(rates)
    }
}

fn read_rate(fields: &mut Fields, period_seconds_max: i64) -> Result<Rate, SpecError> {
    let missing = |fields: &Fields, name| fields.error(name, "is missing");
    let period = fields.bounded("PeriodSeconds", 1, period_seconds_max)?;
    let period = period.ok_or_else(|| missing(fields, "PeriodSeconds"))?;
    let requests = fields.bounded("Requests", 1, REQUESTS_MAX)?.ok_or_else(|| missing(fields, "Requests"))?;
    let burst = fields.bounded("Burst", 0, REQUESTS_MAX)?.unwrap_or(0);
    let burst = if burst == 0 { requests } else { burst };
    Ok(Rate { period_nanos: period * NANOS_PER_SECOND, requests, burst })
}

impl Step for RateLimit {
    fn request<'c>(&'c self, seen: &mut Seen<'_, 'c>) -> Verdict<'c> {
        let brought = self.brought(seen);
        let rates = brought.as_deref().unwrap_or(std::slice::from_ref(&self.rate));
        let now = seen.now.nanos;
        let key = self.variable.key(seen);
        let taken = self.buckets.with(key.bytes(), now, Buckets::default, |buckets| buckets.take(rates, now));
        match taken {
            Ok(()) => Verdict::Pass,
            Err(wait_nanos) => Verdict::Answer(refusal(Duration::from_nanos(wait_nanos))),
        }
    }
}

fn refusal(wait: Duration) -> Answer {
    let wait_text = GoDuration(wait).to_string();
    let seconds = wait.as_nanos().div_ceil(u128::from(NANOS_PER_SECOND));
    Answer::text(429, format!("max rate reached: retry-in {wait_text}"))
        .with("X-Retry-In", wait_text)
        .with("Retry-After", seconds.to_string())
}

#[cfg(test)]
mod tests;
