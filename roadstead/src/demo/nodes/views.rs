//! What the API's answers mean for a cluster that should be whole. Pure: documents in, the first thing amiss out.

use anyhow::{Context, ensure};
use serde_json::Value;
use std::collections::BTreeMap;

/// Every node is there, heard, and takes tasks (`GET /v1/nodes`).
pub fn nodes_are_well(answer: &Value, names: &[&str]) -> anyhow::Result<()> {
    let nodes = answer.as_array().context("a list of nodes")?;
    ensure!(nodes.len() == names.len(), "{} nodes are known instead of {}", nodes.len(), names.len());
    for name in names {
        let node = nodes.iter().find(|node| node["id"] == *name).with_context(|| format!("{name} is not known"))?;
        ensure!(node["state"] == "connected", "{name} is {}", node["state"]);
        for trouble in ["draining", "suspected", "lost"] {
            ensure!(node[trouble] != true, "{name} is {trouble}");
        }
    }
    Ok(())
}

/// There is a leader, and every node's member of etcd answers (`GET /v1/cluster`).
pub fn cluster_is_well(answer: &Value, names: &[&str]) -> anyhow::Result<()> {
    leader(answer)?;
    let members = etcd_members(answer)?;
    ensure!(members.len() == names.len(), "etcd has {} members instead of {}", members.len(), names.len());
    for name in names {
        let member = members.iter().find(|member| member["name"] == *name);
        let member = member.with_context(|| format!("etcd has no member {name}"))?;
        ensure!(member["role"] == "voter", "etcd's member {name} is a {}", member["role"]);
        ensure!(member["healthy"] == true, "etcd does not answer on {name}");
    }
    Ok(())
}

/// The node whose controller leads.
pub fn leader(answer: &Value) -> anyhow::Result<&str> {
    answer["leader"]["node"].as_str().context("the cluster has no leader")
}

/// The node whose member of etcd leads.
pub fn etcd_leader(answer: &Value) -> anyhow::Result<&str> {
    let leads = |member: &&Value| member["leader"] == true;
    let leader = etcd_members(answer)?.iter().find(leads).and_then(|member| member["name"].as_str());
    leader.context("etcd has no leader")
}

fn etcd_members(answer: &Value) -> anyhow::Result<&Vec<Value>> {
    answer["etcd"]["members"].as_array().context("the cluster tells the members of etcd")
}

/// The app's tasks that run and pass their check, by their address (`GET /v2/apps/…`).
pub fn healthy_tasks(app: &Value) -> BTreeMap<String, String> {
    let is_healthy = |task: &&Value| {
        let results = task["healthCheckResults"].as_array();
        task["state"] == "TASK_RUNNING"
            && results
                .is_some_and(|results| !results.is_empty() && results.iter().all(|result| result["alive"] == true))
    };
    let tasks = app["tasks"].as_array().into_iter().flatten().filter(is_healthy);
    let pair = |task: &Value| Some((task["id"].as_str()?.to_owned(), task["host"].as_str()?.to_owned()));
    tasks.filter_map(pair).collect()
}

/// The app has as many tasks as it wants, all healthy, and no deployment.
pub fn app_is_well(app: &Value, instances: u64) -> anyhow::Result<()> {
    let tasks = app["tasks"].as_array().map_or(0, Vec::len);
    ensure!(tasks as u64 == instances, "{tasks} tasks instead of {instances}");
    let healthy = healthy_tasks(app).len();
    ensure!(healthy as u64 == instances, "{healthy} of {instances} tasks are healthy");
    let deployments = app["deployments"].as_array().map_or(0, Vec::len);
    ensure!(deployments == 0, "a deployment goes on");
    Ok(())
}

/// Servers whose URL names this host.
pub fn servers_of<'a>(servers: &'a [String], host: &str) -> Vec<&'a String> {
    let of_host = |server: &&String| {
        let uri = server.parse::<http::Uri>().ok();
        uri.and_then(|uri| uri.host().map(|found| found == host)).unwrap_or(false)
    };
    servers.iter().filter(of_host).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_that_is_missing_silent_or_draining_is_named() {
        let well = json!([{ "id": "a", "state": "connected", "draining": false }, { "id": "b", "state": "connected" }]);
        nodes_are_well(&well, &["a", "b"]).unwrap();
        assert!(nodes_are_well(&well, &["a", "b", "c"]).unwrap_err().to_string().contains("2 nodes"));
        assert!(nodes_are_well(&well, &["a", "c"]).unwrap_err().to_string().contains("c is not known"));
        let silent = json!([{ "id": "a", "state": "silent" }]);
        assert!(nodes_are_well(&silent, &["a"]).unwrap_err().to_string().contains("silent"));
        let draining = json!([{ "id": "a", "state": "connected", "draining": true }]);
        assert!(nodes_are_well(&draining, &["a"]).unwrap_err().to_string().contains("draining"));
    }

    #[test]
    fn etcd_is_whole_with_a_voter_on_each_node() {
        let member =
            |name: &str, leader: bool| json!({ "name": name, "leader": leader, "healthy": true, "role": "voter" });
        let mut answer =
            json!({ "leader": { "node": "a" }, "etcd": { "members": [member("a", false), member("b", true)] } });
        cluster_is_well(&answer, &["a", "b"]).unwrap();
        assert_eq!((leader(&answer).unwrap(), etcd_leader(&answer).unwrap()), ("a", "b"));
        answer["etcd"]["members"][1]["healthy"] = json!(false);
        assert!(cluster_is_well(&answer, &["a", "b"]).unwrap_err().to_string().contains("does not answer on b"));
        assert!(cluster_is_well(&json!({}), &["a"]).is_err());
    }

    #[test]
    fn only_running_tasks_that_pass_their_check_count() {
        let task = |id: &str, state: &str, alive: Value| json!({ "id": id, "host": "10.0.0.1", "state": state, "healthCheckResults": alive });
        let app = json!({ "deployments": [], "tasks": [
            task("a", "TASK_RUNNING", json!([{ "alive": true }])),
            task("b", "TASK_RUNNING", json!([{ "alive": false }])),
            task("c", "TASK_RUNNING", json!([])),
            task("d", "TASK_STAGING", json!([{ "alive": true }])),
        ]});
        assert_eq!(healthy_tasks(&app).keys().collect::<Vec<_>>(), ["a"]);
        assert!(app_is_well(&app, 4).unwrap_err().to_string().contains("1 of 4"));
        assert!(app_is_well(&app, 3).unwrap_err().to_string().contains("4 tasks instead of 3"));
    }

    #[test]
    fn servers_are_told_apart_by_host_not_by_prefix() {
        let servers = ["http://10.77.0.1:31000", "http://10.77.0.10:31000", "nonsense"].map(String::from);
        assert_eq!(servers_of(&servers, "10.77.0.1"), [&servers[0]]);
    }
}
