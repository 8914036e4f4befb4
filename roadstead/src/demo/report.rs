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
