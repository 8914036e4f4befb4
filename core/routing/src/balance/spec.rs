//! What a route asks of its balancer: the field `balance` of a route document, or the label `roadstead.balance`.

use super::copies::{BufferSpec, MirrorSpec};
use super::ejection::EjectionSpec;
use super::health::HealthSpec;
use super::retry::RetrySpec;
use super::{key, sticky};
use crate::document::{RouteServer, SERVERS_MAX};
use crate::expression::RequestHead;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Load a server may have under the policy `hash`, in percent of its share (as HAProxy's manual advises for
/// `hash-balance-factor`).
const LOAD_PERCENT: u32 = 125;
const LOAD_PERCENT_MAX: u32 = 10_000;
const SECONDS_MAX: u32 = 24 * 3600;
/// Failures in a row that may be asked for.
const FAILURES_MAX: u32 = 10_000;
/// Bytes of a header's or cookie's name.
const NAME_BYTES_MAX: usize = 64;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BalanceSpec {
    pub policy: Policy,
    /// With the policy `hash`, and only with it: what is hashed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_on: Option<HashOn>,
    /// With the policy `hash`: a server with more in flight than this percentage of its share is passed over; 0: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_percent_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky: Option<StickySpec>,
    /// In this time a new server's weight grows to its whole; 0: at once.
    #[serde(skip_serializing_if = "is_zero")]
    pub slow_start_seconds: u32,
    /// Servers that answer with more errors than the others get fewer requests, as behind vulcand.
    #[serde(skip_serializing_if = "is_false")]
    pub rebalance: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ejection: Option<EjectionSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanarySpec>,
    /// How many requests may be sent to another server; there always is a bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetrySpec>,
    /// Bodies are kept whole, so that requests that have one can be sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer: Option<BufferSpec>,
    /// Servers are asked how they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSpec>,
    /// Somebody else gets a copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorSpec>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    #[default]
    WeightedRoundRobin,
    LeastConnections,
    TwoChoices,
    Hash,
}

/// `client_ip`, `path`, `header:<name>` or `cookie:<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HashOn {
    ClientIp,
    Path,
    /// Lower-case.
    Header(String),
    Cookie(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StickySpec {
    /// The cookie's name.
    pub cookie: String,
}

/// Servers that get a share of the requests beside the route's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanarySpec {
    /// 0 to 100.
    pub percent: u8,
    pub servers: Vec<RouteServer>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BalanceError {
    #[error("{text:?}: expected weighted_round_robin, least_connections, two_choices, or a JSON object")]
    Text { text: String },
    #[error("not what a route's balance looks like: {message}")]
    Json { message: String },
    #[error("hash_on {text:?}: expected client_ip, path, header:<name> or cookie:<name>")]
    HashOn { text: String },
    #[error("the policy hash needs hash_on")]
    HashOnMissing,
    #[error("{field} goes with the policy hash only")]
    NeedsHash { field: &'static str },
    #[error("{field} does not go with the policy hash: it would move keys")]
    MovesKeys { field: &'static str },
    #[error("load_percent_max {percent}: expected 0, or 100 to {LOAD_PERCENT_MAX}")]
    LoadPercent { percent: u32 },
    #[error("cookie {name:?}: a cookie's name has 1 to {NAME_BYTES_MAX} letters, digits or any of !#$%&'*+-.^_`|~")]
    Cookie { name: String },
    #[error("{field} {number}: expected {least} to {most}")]
    Number { field: &'static str, number: u32, least: u32, most: u32 },
    #[error("canary.servers: {count}, expected 1 to {SERVERS_MAX}")]
    CanaryServers { count: usize },
    #[error("retry.ratio {ratio}: expected 0 to 1")]
    Ratio { ratio: String },
    #[error("health.status {text:?}: expected a status, or two as in 200-399")]
    StatusRange { text: String },
    #[error("health.{field} {text:?}: a path begins with /, and neither has spaces")]
    HealthText { field: &'static str, text: String },
    #[error("mirror.to: {count} servers, expected 1 to {SERVERS_MAX}, or a route's id")]
    MirrorServers { count: usize },
    #[error("mirror.to: a route's id is not empty")]
    MirrorRoute,
}

/// A checked [`BalanceSpec`].
#[derive(Clone, Debug, Default)]
pub struct Balance(Arc<BalanceSpec>);

impl StickySpec {
    pub(super) const COOKIE_BYTES_MAX: usize = NAME_BYTES_MAX;
}

impl Default for StickySpec {
    fn default() -> Self {
        Self { cookie: "roadstead_server".to_owned() }
    }
}

impl BalanceSpec {
    /// A label's value: a policy's name, or a JSON object as in a route document.
    pub fn from_text(text: &str) -> Result<Self, BalanceError> {
        let text = text.trim();
        if text.starts_with('{') {
            let read = serde_json::from_str(text);
            return read.map_err(|error| BalanceError::Json { message: error.to_string() });
        }
        let policy = serde_json::from_value(text.into()).map_err(|_| BalanceError::Text { text: text.to_owned() })?;
        Ok(Self { policy, ..Self::default() })
    }

    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Balance {
    pub fn compile(spec: BalanceSpec) -> Result<Self, BalanceError> {
        if spec.policy == Policy::Hash {
            check_hash(&spec)?;
        } else {
            let given = [("hash_on", spec.hash_on.is_some()), ("load_percent_max", spec.load_percent_max.is_some())];
            if let Some((field, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
                return Err(BalanceError::NeedsHash { field });
            }
        }
        if let Some(StickySpec { cookie }) = &spec.sticky
            && !is_name(cookie)
        {
            return Err(BalanceError::Cookie { name: cookie.clone() });
        }
        check("slow_start_seconds", spec.slow_start_seconds, 0, SECONDS_MAX)?;
        if let Some(EjectionSpec { failures, seconds, seconds_max }) = spec.ejection {
            check("ejection.failures", failures, 1, FAILURES_MAX)?;
            check("ejection.seconds", seconds, 1, SECONDS_MAX)?;
            check("ejection.seconds_max", seconds_max, seconds, SECONDS_MAX)?;
        }
        if let Some(CanarySpec { percent, servers }) = &spec.canary {
            check("canary.percent", u32::from(*percent), 0, 100)?;
            if servers.is_empty() || servers.len() > SERVERS_MAX {
                return Err(BalanceError::CanaryServers { count: servers.len() });
            }
        }
        if let Some(RetrySpec { min_per_second, .. }) = &spec.retry {
            check("retry.min_per_second", *min_per_second, 0, RetrySpec::MIN_PER_SECOND_MAX)?;
        }
        spec.buffer.as_ref().map_or(Ok(()), BufferSpec::check)?;
        spec.health.as_ref().map_or(Ok(()), HealthSpec::check)?;
        spec.mirror.as_ref().map_or(Ok(()), MirrorSpec::check)?;
        Ok(Self(Arc::new(spec)))
    }

    pub fn spec(&self) -> &BalanceSpec {
        &self.0
    }

    /// What a request is hashed on, if it has that.
    pub fn key(&self, head: &RequestHead<'_>) -> Option<u64> {
        Some(match self.0.hash_on.as_ref()? {
            HashOn::ClientIp => match head.client.to_canonical() {
                IpAddr::V4(address) => key::of(&address.octets()),
                IpAddr::V6(address) => key::of(&address.octets()),
            },
            HashOn::Path => key::of(head.path.as_bytes()),
            HashOn::Header(name) => key::of(head.headers.first(name)?.as_bytes()),
            HashOn::Cookie(name) => key::of(key::cookie(head.headers.first("cookie")?, name)?.as_bytes()),
        })
    }

    /// The server that the sticky cookie of a request names.
    pub fn cookie(&self, head: &RequestHead<'_>) -> Option<u64> {
        sticky::named(key::cookie(head.headers.first("cookie")?, &self.sticky()?.cookie)?)
    }

    /// Whether a pick asks what time it is.
    pub fn is_timed(&self) -> bool {
        self.0.slow_start_seconds > 0 || self.0.ejection.is_some()
    }

    pub fn retry(&self) -> RetrySpec {
        self.0.retry.unwrap_or_default()
    }

    pub fn health(&self) -> Option<&HealthSpec> {
        self.0.health.as_ref()
    }

    pub fn mirror(&self) -> Option<&MirrorSpec> {
        self.0.mirror.as_ref()
    }

    /// Whether servers are found by the hashes of their URLs.
    pub(super) fn compares_hashes(&self) -> bool {
        self.0.sticky.is_some() || self.0.policy == Policy::Hash
    }

    pub(super) fn policy(&self) -> Policy {
        self.0.policy
    }

    pub(super) fn load_percent_max(&self) -> u32 {
        self.0.load_percent_max.unwrap_or(LOAD_PERCENT)
    }

    pub(super) fn sticky(&self) -> Option<&StickySpec> {
        self.0.sticky.as_ref()
    }

    pub(super) fn slow_start(&self) -> Option<Duration> {
        (self.0.slow_start_seconds > 0).then(|| Duration::from_secs(self.0.slow_start_seconds.into()))
    }

    pub(super) fn rebalances(&self) -> bool {
        self.0.rebalance
    }

    pub(super) fn ejection(&self) -> Option<&EjectionSpec> {
        self.0.ejection.as_ref()
    }

    pub(super) fn canary_percent(&self) -> u8 {
        self.0.canary.as_ref().map_or(0, |canary| canary.percent)
    }
}

fn check_hash(spec: &BalanceSpec) -> Result<(), BalanceError> {
    if spec.hash_on.is_none() {
        return Err(BalanceError::HashOnMissing);
    }
    for (field, is_given) in [("slow_start_seconds", spec.slow_start_seconds > 0), ("rebalance", spec.rebalance)] {
        if is_given {
            return Err(BalanceError::MovesKeys { field });
        }
    }
    match spec.load_percent_max {
        Some(percent) if percent != 0 && !(100..=LOAD_PERCENT_MAX).contains(&percent) => {
            Err(BalanceError::LoadPercent { percent })
        }
        _ => Ok(()),
    }
}

pub(super) fn check(field: &'static str, number: u32, least: u32, most: u32) -> Result<(), BalanceError> {
    let is_in = (least..=most).contains(&number);
    if is_in { Ok(()) } else { Err(BalanceError::Number { field, number, least, most }) }
}

/// A token (RFC 9110 §5.6.2), which names of headers and cookies are.
fn is_name(text: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_token)
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_false(truth: &bool) -> bool {
    !truth
}

impl TryFrom<String> for HashOn {
    type Error = BalanceError;

    fn try_from(text: String) -> Result<Self, BalanceError> {
        match (text.as_str(), text.split_once(':')) {
            ("client_ip", _) => Ok(Self::ClientIp),
            ("path", _) => Ok(Self::Path),
            (_, Some(("header", name))) if is_name(name) => Ok(Self::Header(name.to_ascii_lowercase())),
            (_, Some(("cookie", name))) if is_name(name) => Ok(Self::Cookie(name.to_owned())),
            _ => Err(BalanceError::HashOn { text }),
        }
    }
}

impl From<HashOn> for String {
    fn from(hash_on: HashOn) -> Self {
        hash_on.to_string()
    }
}

impl fmt::Display for HashOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientIp => f.write_str("client_ip"),
            Self::Path => f.write_str("path"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn compile(json: &str) -> Result<Balance, String> {
        let spec: BalanceSpec = serde_json::from_str(json).map_err(|error| error.to_string())?;
        Balance::compile(spec).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_asked_for_is_read_and_written_again() {
        for json in [
            r#"{"policy":"weighted_round_robin"}"#,
            r#"{"policy":"two_choices","sticky":{"cookie":"s"},"slow_start_seconds":30,"rebalance":true}"#,
            r#"{"policy":"least_connections","ejection":{"failures":3,"seconds":10,"seconds_max":60}}"#,
            r#"{"policy":"hash","hash_on":"header:x-user","load_percent_max":0}"#,
            r#"{"policy":"hash","hash_on":"cookie:Sid"}"#,
            r#"{"policy":"weighted_round_robin","retry":{"ratio":0.2,"min_per_second":3},"buffer":{"memory_bytes":4096}}"#,
            r#"{"policy":"weighted_round_robin","health":{"kind":"tcp","path":"/","interval_ms":500,"timeout_ms":100,"rise":1,"fall":2,"status":"200-399"}}"#,
            r#"{"policy":"weighted_round_robin","mirror":{"to":"other","percent":5}}"#,
            r#"{"policy":"weighted_round_robin","mirror":{"to":[{"id":"1","url":"http://a:1","weight":1}],"percent":100}}"#,
            r#"{"policy":"weighted_round_robin","canary":{"percent":5,"servers":[{"id":"1","url":"http://a:1","weight":1}]}}"#,
        ] {
            assert_eq!(serde_json::to_string(compile(json).unwrap().spec()).unwrap(), json);
        }
        let defaults = compile(r#"{"sticky":{},"ejection":{}}"#).unwrap();
        assert_eq!(defaults.sticky().unwrap().cookie, "roadstead_server");
        assert_eq!(defaults.ejection(), Some(&EjectionSpec { failures: 5, seconds: 30, seconds_max: 300 }));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (json, message) in [
            (r#"{"policy":"random"}"#, "unknown variant `random`"),
            (r#"{"polcy":"hash"}"#, "unknown field `polcy`"),
            (r#"{"policy":"hash"}"#, "needs hash_on"),
            (r#"{"hash_on":"path"}"#, "hash_on goes with the policy hash only"),
            (r#"{"load_percent_max":200}"#, "load_percent_max goes with the policy hash only"),
            (r#"{"policy":"hash","hash_on":"header:"}"#, "expected client_ip, path, header:<name> or cookie:<name>"),
            (r#"{"policy":"hash","hash_on":"path","load_percent_max":99}"#, "expected 0, or 100 to 10000"),
            (r#"{"policy":"hash","hash_on":"path","rebalance":true}"#, "rebalance does not go with the policy hash"),
            (r#"{"sticky":{"cookie":"a b"}}"#, "cookie \"a b\""),
            (r#"{"slow_start_seconds":90000}"#, "slow_start_seconds 90000: expected 0 to 86400"),
            (r#"{"ejection":{"failures":0}}"#, "ejection.failures 0: expected 1 to 10000"),
            (r#"{"ejection":{"seconds":60,"seconds_max":30}}"#, "ejection.seconds_max 30: expected 60 to 86400"),
            (r#"{"canary":{"percent":101,"servers":[{"id":"1","url":"http://a"}]}}"#, "canary.percent 101"),
            (r#"{"canary":{"percent":1,"servers":[]}}"#, "canary.servers: 0"),
            (r#"{"retry":{"ratio":2}}"#, "retry.ratio 2: expected 0 to 1"),
            (r#"{"retry":{"min_per_second":2000000}}"#, "retry.min_per_second 2000000"),
            (r#"{"buffer":{"memory_bytes":100000000}}"#, "buffer.memory_bytes 100000000"),
            (r#"{"health":{"path":"health"}}"#, "health.path \"health\""),
            (r#"{"health":{"host":"a b"}}"#, "health.host \"a b\""),
            (r#"{"health":{"interval_ms":1}}"#, "health.interval_ms 1: expected 100"),
            (r#"{"health":{"status":"2xx"}}"#, "health.status \"2xx\""),
            (r#"{"mirror":{"to":[]}}"#, "mirror.to: 0 servers"),
            (r#"{"mirror":{"to":"a","percent":101}}"#, "mirror.percent 101"),
        ] {
            let error = compile(json).unwrap_err();
            assert!(error.contains(message), "{json}: {error}");
        }
    }

    #[test]
    fn a_label_is_a_policys_name_or_json() {
        assert_eq!(BalanceSpec::from_text("two_choices").unwrap().policy, Policy::TwoChoices);
        assert!(BalanceSpec::from_text(r#" {"rebalance":true} "#).unwrap().rebalance);
        assert!(matches!(BalanceSpec::from_text("fastest"), Err(BalanceError::Text { .. })));
        assert!(matches!(BalanceSpec::from_text("{}}"), Err(BalanceError::Json { .. })));
    }

    #[test]
    fn keys_are_read_from_the_request() {
        let headers = [("Cookie", "sid=7; roadstead_server=00000000000000ff"), ("X-User", "eve")];
        let client = Ipv4Addr::LOCALHOST.into();
        let head = RequestHead { method: "GET", host: "a", path: "/x", query: Some("y"), headers: &headers, client };
        let key = |on: &str| compile(&format!(r#"{{"policy":"hash","hash_on":"{on}"}}"#)).unwrap().key(&head);
        assert_eq!(key("path"), Some(key::of(b"/x")));
        assert_eq!(key("header:X-USER"), Some(key::of(b"eve")));
        assert_eq!(key("cookie:sid"), Some(key::of(b"7")));
        assert_eq!(key("client_ip"), Some(key::of(&[127, 0, 0, 1])));
        assert_eq!((key("cookie:other"), key("header:y")), (None, None));
        assert_eq!(compile(r#"{"sticky":{}}"#).unwrap().cookie(&head), Some(255));
        assert_eq!(compile(r#"{"sticky":{"cookie":"sid"}}"#).unwrap().cookie(&head), None, "no server's name");
        assert_eq!(compile("{}").unwrap().cookie(&head), None);
    }
}
