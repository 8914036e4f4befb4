//! What vulcand says of how requests fared: its JSON, and who can say it.

use serde::Serialize;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

/// The quantiles vulcand tells.
pub const QUANTILES: [f64; 5] = [50.0, 75.0, 95.0, 99.0, 99.9];

/// Who counts requests: an edge.
pub trait Statistics: Send + Sync + 'static {
    fn read(&self) -> Pin<Box<dyn Future<Output = Recently> + Send + '_>>;
}

/// How requests fared of late; what had none is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recently {
    /// By the frontend's id.
    pub frontends: BTreeMap<String, RoundTripStats>,
    /// By the server's URL.
    pub servers: BTreeMap<String, RoundTripStats>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RoundTripStats {
    verdict: Verdict,
    counters: Counters,
    latency_brackets: Vec<Bracket>,
}

/// Whether it stands out among its like. This edge does not judge.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Verdict {
    is_bad: bool,
    anomalies: Option<Vec<()>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Counters {
    /// Nanoseconds.
    period: u64,
    net_errors: u64,
    total: u64,
    status_codes: Vec<StatusCode>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct StatusCode {
    code: u16,
    count: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Bracket {
    quantile: f64,
    /// Nanoseconds.
    value: u64,
}

impl RoundTripStats {
    /// Of what was answered within `period`; `latencies` are those of [`QUANTILES`].
    pub fn new(period: Duration, codes: &BTreeMap<u16, u64>, latencies: [Duration; QUANTILES.len()]) -> Self {
        let count_of = |code: u16| codes.get(&code).copied().unwrap_or(0);
        let counters = Counters {
            period: nanos(period),
            // What vulcand calls so: the answers it makes of a server that cannot be reached.
            net_errors: count_of(502) + count_of(504),
            total: codes.values().sum(),
            status_codes: codes.iter().map(|(code, count)| StatusCode { code: *code, count: *count }).collect(),
        };
        let brackets = QUANTILES.iter().zip(latencies);
        Self {
            verdict: Verdict { is_bad: false, anomalies: None },
            counters,
            latency_brackets: brackets
                .map(|(quantile, value)| Bracket { quantile: *quantile, value: nanos(value) })
                .collect(),
        }
    }

    /// Of what had no request within vulcand's window.
    pub fn idle() -> Self {
        Self::new(Duration::from_secs(10), &BTreeMap::new(), [Duration::ZERO; QUANTILES.len()])
    }

    /// vulcand's order of `top`: most network errors, then most 500s, then most requests, the greatest first.
    pub fn worse_first(&self, other: &Self) -> std::cmp::Ordering {
        let ratio = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let rank = |stats: &Self| {
            let counters = &stats.counters;
            let counted = |codes: std::ops::Range<u16>| {
                counters
                    .status_codes
                    .iter()
                    .filter(|status| codes.contains(&status.code))
                    .map(|status| status.count)
                    .sum()
            };
            (ratio(counters.net_errors, counters.total), ratio(counted(500..501), counted(200..300)), counters.total)
        };
        let (own, others) = (rank(self), rank(other));
        others.0.total_cmp(&own.0).then(others.1.total_cmp(&own.1)).then(others.2.cmp(&own.2))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stats(codes: &[(u16, u64)]) -> RoundTripStats {
        RoundTripStats::new(Duration::from_secs(10), &codes.iter().copied().collect(), [Duration::from_millis(1); 5])
    }

    #[test]
    fn it_is_written_as_vulcand_writes_it() {
        let written = serde_json::to_value(stats(&[(200, 3), (502, 1)])).unwrap();
        assert_eq!(
            written["Counters"],
            json!({ "Period": 10_000_000_000_u64, "NetErrors": 1, "Total": 4,
                    "StatusCodes": [{ "Code": 200, "Count": 3 }, { "Code": 502, "Count": 1 }] })
        );
        assert_eq!(written["Verdict"], json!({ "IsBad": false, "Anomalies": null }));
        assert_eq!(written["LatencyBrackets"][4], json!({ "Quantile": 99.9, "Value": 1_000_000 }));
    }

    #[test]
    fn the_worst_come_first() {
        let mut all =
            [stats(&[(200, 9)]), stats(&[(200, 90)]), stats(&[(200, 9), (500, 1)]), stats(&[(200, 9), (502, 1)])];
        let expected = [all[3].clone(), all[2].clone(), all[1].clone(), all[0].clone()];
        all.sort_by(RoundTripStats::worse_first);
        assert_eq!(all, expected);
    }
}
