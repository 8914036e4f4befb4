//! `/v2/info`.

use serde_json::{Value, json};

/// Service ports are given out from here (Marathon's `local_port_min`, `local_port_max`).
const LOCAL_PORT_MIN: u16 = 10_000;
const LOCAL_PORT_MAX: u16 = 20_000;

/// The dialect spoken, which clients choose their own by.
const DIALECT_VERSION: &str = "1.4.0";

#[derive(Clone, Debug, Default)]
pub struct Info {
    /// `host:port`.
    pub leader: String,
    pub framework_id: String,
    pub hostname: String,
    pub http_port: u16,
}

pub fn info(info: &Info) -> Value {
    json!({
        "name": "marathon",
        "version": DIALECT_VERSION,
        "buildref": concat!("roadstead-", env!("CARGO_PKG_VERSION")),
        "elected": true,
        "leader": info.leader,
        "frameworkId": info.framework_id,
        "marathon_config": {
            "master": Value::Null,
            "failover_timeout": 604_800,
            "ha": false,
            "checkpoint": true,
            "local_port_min": LOCAL_PORT_MIN,
            "local_port_max": LOCAL_PORT_MAX,
            "executor": "//cmd",
            "hostname": info.hostname,
            "mesos_role": Value::Null,
            "mesos_user": Value::Null,
            "webui_url": Value::Null,
            "task_launch_timeout": 300_000,
            "reconciliation_initial_delay": 15_000,
            "reconciliation_interval": 600_000,
            "marathon_store_timeout": 2_000,
        },
        "zookeeper_config": { "zk": Value::Null, "zk_hosts": Value::Null, "zk_path": Value::Null, "zk_timeout": 10_000 },
        "event_subscriber": Value::Null,
        "http_config": { "assets_path": Value::Null, "http_port": info.http_port, "https_port": Value::Null },
    })
}
