//! `timeouts`: other bounds of time than the edge's and the backend's own.

use crate::spec::{Fields, SpecError};
use crate::step::{Seen, Step, Verdict};
use std::time::Duration;

/// What is not named stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection to a server stands.
    pub dial: Option<Duration>,
    /// From the last byte of the request until the head of the response.
    pub response_head: Option<Duration>,
    /// While not a byte moves in either direction.
    pub idle: Option<Duration>,
    /// The whole exchange, retries included; a tunnel is exempt.
    pub request: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct TimeoutOverrides(Timeouts);

impl TimeoutOverrides {
    pub fn read(mut fields: Fields) -> Result<Self, SpecError> {
        let timeouts = Timeouts {
            dial: fields.duration("Dial")?,
            response_head: fields.duration("ResponseHead")?,
            idle: fields.duration("Idle")?,
            request: fields.duration("Request")?,
        };
        fields.done()?;
        Ok(Self(timeouts))
    }
}

impl Step for TimeoutOverrides {
    /// Of two that say the same, the shorter holds.
    fn request<'c>(&'c self, seen: &mut Seen<'_, 'c>) -> Verdict<'c> {
        let shorter = |known: &mut Option<Duration>, own: Option<Duration>| {
            *known = [*known, own].into_iter().flatten().min();
        };
        let known = &mut seen.limits.timeouts;
        shorter(&mut known.dial, self.0.dial);
        shorter(&mut known.response_head, self.0.response_head);
        shorter(&mut known.idle, self.0.idle);
        shorter(&mut known.request, self.0.request);
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{chain_of, passage, refusal, request};
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn the_shorter_holds() {
        let chain = chain_of(&json!([
            {"Id": "a", "Type": "timeouts", "Middleware": {"Dial": "2s", "Request": "1m"}},
            {"Id": "b", "Type": "timeouts", "Middleware": {"Dial": 500_000_000, "Idle": "", "ResponseHead": "3s"}},
        ]));
        let timeouts = passage(&chain, &request("GET", "/", &[("a", "b")])).limits.timeouts;
        assert_eq!(timeouts.dial, Some(Duration::from_millis(500)));
        assert_eq!((timeouts.request, timeouts.idle), (Some(Duration::from_secs(60)), None));
        assert_eq!(timeouts.response_head, Some(Duration::from_secs(3)));
        assert!(refusal("timeouts", json!({"Read": "1s"})).contains("Dial, ResponseHead, Idle, Request"));
        assert!(refusal("timeouts", json!({"Dial": "soon"})).starts_with("Dial"));
    }
}
