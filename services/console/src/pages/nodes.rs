//! The nodes: how each stands and why, its part in the cluster, what it offers, what is used of it, and what its runtime
//! lacks.

use super::cluster;
use super::parts::{node_query, time};
use crate::controller::{Cluster, Node};
use crate::standing::{Standing, needed_for};
use maud::{Markup, html};
use serde_json::Value;
use std::collections::BTreeMap;

/// What the page is made of.
pub struct Content<'a> {
    /// `None` where the controller does not tell.
    pub nodes: Option<&'a [Node]>,
    /// `None` on a machine alone; in words why it could not be read.
    pub cluster: Result<Option<&'a Cluster>, String>,
    /// Whether to offer what changes a node; who may is the controller's to decide.
    pub offers_changes: bool,
}

/// A thousandth is the smallest share of a core there is.
const CPU_DECIMALS: i32 = 3;
/// Whole MiB.
const MEMORY_DECIMALS: i32 = 0;

/// The columns that not every table has.
#[derive(Clone, Copy)]
struct Columns {
    cluster: bool,
    actions: bool,
}

pub fn render(content: &Content<'_>) -> Markup {
    let nodes = content.nodes.unwrap_or_default();
    html! {
        h1 { "Nodes" }
        (brake(nodes))
        @match &content.cluster {
            Ok(None) => {},
            Ok(Some(described)) => (cluster::render(described)),
            Err(message) => div.notice { p { "What the cluster says of itself could not be read: " (message) } },
        }
        @match content.nodes {
            None => p.empty { "This controller does not tell its nodes." },
            Some([]) => p.empty { "No node has joined." },
            Some(nodes) => {
                div.wide { (table(nodes, content.cluster.as_ref().ok().copied().flatten(), content.offers_changes)) }
                (limits(nodes))
            },
        }
    }
}

/// Why silent nodes are not given up: one reason for all of them.
fn brake(nodes: &[Node]) -> Markup {
    html! {
        @if let Some(reason) = nodes.iter().find_map(|node| node.brake.as_deref()) {
            div.alarm role="alert" {
                p { strong { "The brake is on" } }
                p { (capitalised(reason)) "." }
            }
        }
    }
}

fn table(nodes: &[Node], cluster: Option<&Cluster>, offers_changes: bool) -> Markup {
    let columns = Columns {
        cluster: nodes.iter().any(is_in_cluster),
        actions: offers_changes && nodes.iter().any(|node| change(node, nodes).is_some()),
    };
    html! {
        table.cards {
            thead {
                tr {
                    th scope="col" { "Node" }
                    th scope="col" { "Standing" }
                    @if columns.cluster { th scope="col" { "Part in the state" } }
                    th.number scope="col" { "Tasks" }
                    th.number scope="col" { "CPUs" }
                    th.number scope="col" { "Memory (MB)" }
                    th scope="col" { "Runtime" }
                    @if columns.cluster { th scope="col" { "Version" } }
                    @if columns.actions { th scope="col" { "" } }
                }
            }
            tbody { @for node in nodes { (row(node, columns, cluster, change(node, nodes))) } }
        }
    }
}

fn row(node: &Node, columns: Columns, cluster: Option<&Cluster>, change: Option<(&str, &str)>) -> Markup {
    let name = name(node);
    html! {
        tr {
            th scope="row" {
                (name)
                div.endpoints { span { (node.address) } }
            }
            td data-label="Standing" { (standing(node, cluster)) }
            @if columns.cluster { td data-label="Part in the state" { (part(node)) } }
            td.number data-label="Tasks" { (count(&node.tasks)) }
            td.number data-label="CPUs" { (used(node, "cpus", CPU_DECIMALS)) }
            td.number data-label="Memory (MB)" { (used(node, "mem", MEMORY_DECIMALS)) }
            td data-label="Runtime" { (words(&node.runtime)) }
            @if columns.cluster { td data-label="Version" { (node.version.as_deref().filter(|version| !version.is_empty()).unwrap_or("–")) } }
            @if columns.actions {
                td.change {
                    @if let Some((action, verb)) = change {
                        a.button href={ "/nodes?confirm=" (action) "&node=" (node_query(&node.id)) } aria-label={ (verb) " " (name) } { (verb) }
                    }
                }
            }
        }
    }
}

fn standing(node: &Node, cluster: Option<&Cluster>) -> Markup {
    let standing = Standing::of(node);
    html! {
        span class={ "node " (standing.name().to_lowercase()) } { (standing.name()) }
        (reason(node, standing, cluster))
    }
}

/// Since when and why, and what follows.
fn reason(node: &Node, standing: Standing, cluster: Option<&Cluster>) -> Markup {
    let since = html! { @if let Some(since) = &node.since { "since " (time(since)) "; " } };
    let reason = match standing {
        Standing::Connected => return html! {},
        Standing::Silent => html! { "last heard " (time(node.last_seen.as_deref().unwrap_or("never"))) },
        Standing::Suspected if node.brake.is_some() => html! { (since) "kept by the brake" },
        Standing::Suspected => html! { (since) "its servers leave the routes" },
        Standing::Lost => html! { (since) "its tasks are started elsewhere" },
        Standing::Draining => match count(&node.tasks).as_str() {
            "" => html! { "its tasks are started elsewhere" },
            "1" => html! { "1 task is still here" },
            tasks => html! { (tasks) " tasks are still here" },
        },
        Standing::Drained if is_in_cluster(node) && cluster.is_none() => html! { "no task is here" },
        Standing::Drained => match needed_for(node, cluster) {
            None => html! { "no task is here; it may be stopped" },
            Some(what) => html! { "no task is here, but it is needed for " (what) },
        },
        Standing::Absent => html! { "it has joined, its agent has not come yet" },
        Standing::Unknown => html! { (node.state) },
    };
    let is_drain_unsaid = node.draining && !matches!(standing, Standing::Draining | Standing::Drained);
    html! { span.reason { (reason) @if is_drain_unsaid { "; it is being drained" } } }
}

/// Its part in the cluster's state; the leader has its etcd's part, too.
fn part(node: &Node) -> Markup {
    let etcd = node.etcd.as_deref().filter(|role| !role.is_empty());
    html! {
        @match (node.leader, etcd) {
            (Some(true), etcd) => { span.part.leads { "Leads" } @if let Some(role) = etcd { span.reason { (role) } } },
            (_, Some(role)) => (capitalised(role)),
            (_, None) => "–",
        }
    }
}

/// What the runtimes lack, once for all nodes that lack the same.
fn limits(nodes: &[Node]) -> Markup {
    let mut lacking: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for node in nodes {
        lacking.entry((words(&node.runtime), words(&node.limits))).or_default().push(name(node));
    }
    lacking.retain(|(_, limits), _| !limits.is_empty());
    html! {
        @if !lacking.is_empty() {
            section.limits aria-labelledby="limits" {
                h2 #limits { "Limits of the runtimes" }
                @for ((runtime, limits), names) in &lacking {
                    p { code { (runtime) } " on " (names.join(", ")) ": " (limits) "." }
                }
            }
        }
    }
}

fn is_in_cluster(node: &Node) -> bool {
    node.leader.is_some()
}

fn name(node: &Node) -> &str {
    if node.hostname.is_empty() { &node.id } else { &node.hostname }
}

/// What is offered to do with a node: the action and its verb. The tasks of a machine alone could go nowhere.
fn change(node: &Node, nodes: &[Node]) -> Option<(&'static str, &'static str)> {
    match Standing::of(node) {
        Standing::Absent => None,
        _ if node.draining => Some(("restore", "Restore")),
        _ if nodes.len() > 1 => Some(("drain", "Drain")),
        _ => None,
    }
}

/// `0.4 / 8`
fn used(node: &Node, resource: &str, decimals: i32) -> String {
    let rounded = |amount: f64| {
        let scale = 10_f64.powi(decimals);
        ((amount * scale).round() / scale).to_string()
    };
    let amount = |value: &Value| value.get(resource).and_then(Value::as_f64);
    match (amount(&node.used), amount(&node.resources)) {
        (Some(used), Some(offered)) => format!("{} / {}", rounded(used), rounded(offered)),
        (None, Some(offered)) => rounded(offered),
        _ => String::from("–"),
    }
}

fn count(tasks: &Value) -> String {
    match tasks {
        Value::Array(tasks) => tasks.len().to_string(),
        Value::Number(count) => count.to_string(),
        _ => String::new(),
    }
}

/// A text, or the texts of a list or an object, as one line.
fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(words).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; "),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| format!("{name} {}", words(value))).collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests;
