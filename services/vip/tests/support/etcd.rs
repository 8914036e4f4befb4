//! A real etcd of three members, one on each node of a ring.

use crate::lab::{Ring, Running, until};
use std::time::Duration;

/// Electing its first leader on a busy machine.
const START: Duration = Duration::from_secs(15);

pub struct Cluster {
    pub clients: Vec<String>,
    _members: Vec<Running>,
}

impl Cluster {
    /// On nodes a, b and c; with the times that Roadstead runs its own members with.
    pub async fn start(ring: &Ring) -> Self {
        let urls = |port: u16| -> Vec<String> {
            ring.nodes.iter().map(|node| format!("http://{}:{port}", node.address())).collect()
        };
        let (clients, peers) = (urls(2379), urls(2380));
        let named = ring.nodes.iter().zip(&peers).map(|(node, peer)| format!("{}={peer}", node.name()));
        let initial = named.collect::<Vec<_>>().join(",");
        let mut members = Vec::new();
        for (number, node) in ring.nodes.iter().enumerate() {
            let mut command = node.command("etcd");
            command
                .args(["--name", node.name(), "--initial-cluster", &initial, "--log-level", "error"])
                .args(["--listen-client-urls", &clients[number], "--advertise-client-urls", &clients[number]])
                .args(["--listen-peer-urls", &peers[number], "--initial-advertise-peer-urls", &peers[number]])
                .args(["--heartbeat-interval", "50", "--election-timeout", "500", "--pre-vote", "--data-dir"])
                .arg(ring.directory.path().join(format!("etcd-{}", node.name())));
            let log = ring.directory.path().join(format!("etcd-{}.log", node.name()));
            members.push(Running::start(command, &log));
        }
        let healthy = async || {
            let mut command = ring.nodes[0].command("etcdctl");
            command.env("ETCDCTL_API", "3").args(["--endpoints", &clients.join(","), "endpoint", "health"]);
            command.output().await.is_ok_and(|output| output.status.success())
        };
        until("etcd answers", START, healthy).await;
        Self { clients, _members: members }
    }
}
