//! Nodes, and what Marathon has no word for: where an app is reached, what its nodes lack, why it does not run.

use super::answer::{Failure, json_ok};
use super::apps::known;
use super::render::{Embed, Scene};
use super::{Api, now};
use crate::cluster::overview::etcd_role;
use crate::desk::Ask;
use crate::routes;
use axum::response::Response;
use model::resources::{bytes_to_mib, milli_to_cpus};
use model::{App, NodeId, Resources};
use scheduler::{EdgeRecord, NodeRecord, Standing, TaskRecord, World};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// `GET /v1/nodes`: those whose agent has come, and the cluster's machines whose agent has not.
pub async fn list(api: &Api) -> Result<Response, Failure> {
    let world = api.desk.view();
    let nodes = world.nodes.values().map(|record| node(&world, record));
    let Some(registrar) = &api.context.registrar else { return Ok(json_ok(&nodes.collect())) };
    let (machines, etcd) = (registrar.shared.roster.machines(), registrar.etcd_members().await);
    let mut by_name: BTreeMap<String, Value> = world.nodes.keys().map(|id| id.to_string()).zip(nodes).collect();
    for (name, machine) in machines.iter() {
        let absent =
            || json!({ "id": name, "hostname": name, "address": machine.address, "state": "absent", "tasks": 0 });
        let value = by_name.entry(name.clone()).or_insert_with(absent);
        value["keepsState"] = json!(machine.state);
        value["etcd"] = json!(etcd_role(machine, &etcd));
        value["leader"] = json!(*name == registrar.shared.cluster.node);
        value["joinedAt"] = json!(machine.joined_at);
        value["version"] = json!(machine.version);
    }
    Ok(json_ok(&by_name.into_values().collect()))
}

/// `POST /v1/nodes/{id}/drain` and `/restore`
pub async fn drain(api: &Api, id: &str, on: bool) -> Result<Response, Failure> {
    api.ask(Ask::DrainNode { node: NodeId::new(id), on }).await?;
    Ok(json_ok(&json!({ "id": id, "draining": on })))
}

/// `GET /v1/apps/{id}`: the app, its URL, and per node what its runtime lacks.
pub fn app(api: &Api, id: &str) -> Result<Response, Failure> {
    let id = known(id)?;
    let world = api.desk.view();
    let record = world.apps.get(&id).ok_or_else(|| Failure::no_app(id.as_str()))?;
    let scene = Scene::of(&world);
    let mut limits: BTreeMap<&str, &[String]> = BTreeMap::new();
    for task in scene.tasks(&id) {
        if let Some(node) = world.nodes.get(&task.task.node) {
            limits.insert(&node.node.runtime, &node.node.limits);
        }
    }
    Ok(json_ok(&json!({
        "app": scene.app(record, Embed::ALL),
        "url": url(api, &record.app),
        "runtimes": limits,
    })))
}

/// `GET /v1/apps/{id}/explain`: in words, what the app waits for; nothing when it is as it should be.
pub fn explain(api: &Api, id: &str) -> Result<Response, Failure> {
    let id = known(id)?;
    let world = api.desk.view();
    if !world.apps.contains_key(&id) {
        return Err(Failure::no_app(id.as_str()));
    }
    let reasons = scheduler::explain(&world, &id, now());
    Ok(json_ok(&json!({ "app": id.as_str(), "reasons": reasons })))
}

/// `None` for an app without ports, or whose labels name no host.
fn url(api: &Api, app: &App) -> Option<String> {
    app.ports.first()?;
    let name = routes::public_name(app, &api.context.domain)?;
    let port = edge_port(api).filter(|port| *port != 80).map_or(String::new(), |port| format!(":{port}"));
    Some(format!("http://{name}{port}/"))
}

/// The port the edges serve on: the one configured, else the one an edge has told.
fn edge_port(api: &Api) -> Option<u16> {
    let told = |edge: &EdgeRecord| edge.address.parse::<SocketAddr>().ok().map(|address| address.port());
    api.context.edge_port.or_else(|| api.desk.view().edges.values().find_map(told))
}

fn node(world: &World, record: &NodeRecord) -> Value {
    let of_node = |task: &&TaskRecord| task.task.node == record.node.id && !task.seen.state.is_terminal();
    let tasks: Vec<&TaskRecord> = world.tasks.values().filter(of_node).collect();
    let mut used = Resources::default();
    for app in tasks.iter().filter_map(|task| world.app_of(&task.task)) {
        used.cpus_milli += app.cpus_milli;
        used.mem_bytes += app.mem_bytes;
        used.disk_bytes += app.disk_bytes;
    }
    let used_ports: Vec<u16> = tasks.iter().flat_map(|task| task.task.ports.iter().copied()).collect();
    let ranges = record.node.resources.ports.iter().map(|range| json!([range.begin, range.end]));
    let mut resources = amounts(&record.node.resources);
    resources["ports"] = ranges.collect();
    let mut used = amounts(&used);
    used["ports"] = json!(used_ports);
    let (silent_since, is_suspected) = match record.standing {
        Standing::Suspected { since } => (Some(since.to_string()), true),
        Standing::Lost { since } => (Some(since.to_string()), false),
        Standing::Live | Standing::Draining => (None, false),
    };
    json!({
        "id": record.node.id.as_str(),
        "hostname": record.node.hostname,
        "address": record.node.address,
        "state": if record.connected { "connected" } else { "silent" },
        "lastSeen": record.last_seen.to_string(),
        "draining": record.node.draining,
        "suspected": is_suspected,
        "lost": record.standing.is_lost(),
        // Since when it is suspected or lost, and why it is not given up.
        "since": silent_since,
        "brake": world.brake.filter(|_| is_suspected).map(|brake| brake.to_string()),
        "resources": resources,
        "used": used,
        "runtime": record.node.runtime,
        "limits": record.node.limits,
        "attributes": record.node.attributes,
        "tasks": tasks.len(),
    })
}

fn amounts(resources: &Resources) -> Value {
    json!({
        "cpus": milli_to_cpus(resources.cpus_milli),
        "mem": bytes_to_mib(resources.mem_bytes),
        "disk": bytes_to_mib(resources.disk_bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Node, Timestamp};
    use scheduler::Policy;
    use std::sync::Arc;
    use std::time::Duration;

    fn world(names: &[&str]) -> World {
        let mut world = World::default();
        for name in names {
            let node = Node {
                id: NodeId::new(*name),
                hostname: (*name).to_owned(),
                address: String::new(),
                resources: Resources::default(),
                attributes: BTreeMap::new(),
                runtime: String::new(),
                limits: Vec::new(),
                draining: *name == "a",
            };
            world.nodes.insert(node.id.clone(), NodeRecord::new(Arc::new(node), Timestamp::EPOCH));
        }
        world
    }

    #[test]
    fn a_node_is_shown_with_what_its_silence_makes_of_it() {
        let mut world = world(&["a", "b", "c"]);
        let shown = |world: &World, name: &str| node(world, &world.nodes[&NodeId::new(name)]);
        let silence = |world: &mut World, heard: &[&str], seconds| {
            let now = Timestamp::EPOCH.after(Duration::from_secs(seconds));
            for name in heard {
                world.nodes.get_mut(&NodeId::new(*name)).unwrap().last_seen = now;
            }
            world.judge(now, &Policy::default());
        };
        silence(&mut world, &["a", "b"], 2);
        let (a, c) = (shown(&world, "a"), shown(&world, "c"));
        assert_eq!((&a["draining"], &a["suspected"], &a["since"]), (&json!(true), &json!(false), &json!(null)));
        assert_eq!((&c["suspected"], &c["lost"], &c["brake"]), (&json!(true), &json!(false), &json!(null)));
        assert_eq!(c["since"], "1970-01-01T00:00:01.500Z");
        silence(&mut world, &["a", "b"], 6);
        let c = shown(&world, "c");
        assert_eq!(
            (&c["suspected"], &c["lost"], &c["since"]),
            (&json!(false), &json!(true), &json!("1970-01-01T00:00:05.000Z"))
        );
        silence(&mut world, &[], 60);
        let b = shown(&world, "b");
        assert_eq!((&b["suspected"], &b["lost"]), (&json!(true), &json!(false)));
        assert!(b["brake"].as_str().unwrap().starts_with("2 of 2 nodes are silent at once"));
    }
}
