//! What the demo saw, as one JSON document.

use serde::Serialize;

/// Every figure is counted from responses or from the edge's metrics during the run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Every step was observed through public interfaces.
    pub ok: bool,
    pub steps: Vec<StepReport>,
    /// `docker` or `process`.
    pub runtime: String,
    /// Most servers of the app's route at once, as the edge tells.
    pub instances_routed_max: u64,
    /// Servers of the app's route at the end.
    pub instances_final: u64,
    /// Requests the load sent.
    pub requests: u64,
    pub failed_requests: u64,
    /// Different instances that answered.
    pub host_names_seen: u64,
    /// Bytes the edge sent towards the app while a 12 MiB picture was uploaded.
    pub app_bytes_in: u64,
    /// Bytes the edge sent towards object storage meanwhile.
    pub object_bytes_in: u64,
    /// From `POST /v2/apps` until the app answered through the edge.
    pub seconds_to_routed: f64,
    /// From the request to scale until 20 servers were routed.
    pub seconds_to_scaled: f64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodesReport>,
}

/// What was seen on several nodes while they were lost and changed.
#[derive(Debug, Default, Serialize)]
pub struct NodesReport {
    pub nodes: usize,
    /// In the order they happened.
    pub faults: Vec<FaultReport>,
    /// Small changes that the API acknowledged while nodes were lost.
    pub writes_acknowledged: u64,
    /// Those of them that were gone afterwards. One is too many.
    pub writes_lost: u64,
}

/// One fault, from its beginning until the cluster was whole again. Times are seconds since the beginning; `null` is what
/// this fault does not cause, or what was not seen (then `error` says so).
#[derive(Debug, Default, Serialize)]
pub struct FaultReport {
    pub name: String,
    /// Something an operator does: no request may fail.
    pub planned: bool,
    /// What it happened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The node held the address.
    pub held_address: bool,
    /// Requests on the address.
    pub requests: u64,
    pub failed: u64,
    /// When the last request that failed had left.
    pub failed_last_s: Option<f64>,
    /// Longest time without any answer on the address.
    pub silence_max_s: f64,
    /// Until no other node's edge had a server of the node in the app's route.
    pub endpoints_out_s: Option<f64>,
    /// Until as many tasks as wanted ran on other nodes.
    pub tasks_elsewhere_s: Option<f64>,
    /// Until another node held the address.
    pub address_moved_s: Option<f64>,
    /// Longest time in which no node's API acknowledged a write.
    pub writes_silence_max_s: f64,
    /// Until everything was as before: every node, every task once, every edge, one holder.
    pub whole_s: Option<f64>,
    /// The first requests that failed, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
    /// What should have happened and did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl FaultReport {
    /// One line for people.
    pub fn summary(&self) -> String {
        let seconds = |value: Option<f64>| value.map(|seconds| format!("{seconds:.2} s"));
        let facts = [
            ("endpoints out after", seconds(self.endpoints_out_s)),
            ("tasks elsewhere after", seconds(self.tasks_elsewhere_s)),
            ("address moved after", seconds(self.address_moved_s)),
            ("longest silence", seconds(Some(self.silence_max_s))),
            ("no write for", seconds(Some(self.writes_silence_max_s))),
        ];
        let mut line = format!("{} of {} requests failed", self.failed, self.requests);
        for (name, value) in facts {
            if let Some(value) = value {
                line.push_str(&format!(" · {name} {value}"));
            }
        }
        line
    }
}

#[derive(Debug, Serialize)]
pub struct StepReport {
    pub name: &'static str,
    pub ok: bool,
    pub seconds: f64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
