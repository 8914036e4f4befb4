//! The nodes: what each offers, what is used of it, and what its runtime lacks.

use crate::controller::Node;
use maud::{Markup, html};
use serde_json::Value;

pub fn render(nodes: Option<&[Node]>) -> Markup {
    html! {
        h1 { "Nodes" }
        @match nodes {
            None => p.empty { "This controller does not tell its nodes." },
            Some([]) => p.empty { "No node has joined." },
            Some(nodes) => {
                table.cards {
                    thead {
                        tr {
                            th scope="col" { "Node" }
                            th scope="col" { "State" }
                            th.number scope="col" { "Tasks" }
                            th.number scope="col" { "CPUs" }
                            th.number scope="col" { "Memory (MB)" }
                            th scope="col" { "Runtime" }
                        }
                    }
                    tbody { @for node in nodes { (row(node)) } }
                }
            }
        }
    }
}

fn row(node: &Node) -> Markup {
    let name = if node.hostname.is_empty() { &node.id } else { &node.hostname };
    html! {
        tr {
            th scope="row" {
                (name)
                div.endpoints { span { (node.address) } }
            }
            td data-label="State" { span class={ "node " (node.state.to_lowercase()) } { (node.state) } }
            td.number data-label="Tasks" { (count(&node.tasks)) }
            td.number data-label="CPUs" { (used(node, "cpus")) }
            td.number data-label="Memory (MB)" { (used(node, "mem")) }
            td data-label="Runtime" { (words(&node.runtime)) @if !words(&node.limits).is_empty() { span.cause { (words(&node.limits)) } } }
        }
    }
}

/// `0.4 / 8`
fn used(node: &Node, resource: &str) -> String {
    let amount = |value: &Value| value.get(resource).and_then(Value::as_f64);
    match (amount(&node.used), amount(&node.resources)) {
        (Some(used), Some(offered)) => format!("{} / {}", rounded(used), rounded(offered)),
        (None, Some(offered)) => rounded(offered),
        _ => String::new(),
    }
}

/// To a thousandth, the smallest share of a core there is.
fn rounded(amount: f64) -> String {
    format!("{}", (amount * 1000.0).round() / 1000.0)
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn amounts_are_short_whatever_the_fractions_were() {
        let node = json!({"resources": {"cpus": 8, "mem": 2048.0}, "used": {"cpus": 0.30000000000000004}});
        let node: Node = serde_json::from_value(node).unwrap();
        assert_eq!(used(&node, "cpus"), "0.3 / 8");
        assert_eq!(used(&node, "mem"), "2048");
        assert_eq!(used(&node, "disk"), "");
    }

    #[test]
    fn any_shape_of_limits_becomes_a_line() {
        assert_eq!(words(&json!(["no outbound network", "no seccomp"])), "no outbound network; no seccomp");
        assert_eq!(words(&json!({"pids": 100})), "pids 100");
        assert_eq!(words(&json!(null)), "");
        assert_eq!((count(&json!([1, 2])), count(&json!(3))), ("2".into(), "3".into()));
    }
}
