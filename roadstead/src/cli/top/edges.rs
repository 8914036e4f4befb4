//! Which edges are asked: those that are named, else this machine's and in a cluster those of all its machines, on the port
//! that this machine's has.

use crate::cli::connection::{Api, Connection};
use crate::cluster::Membership;
use lifecycle::ErrorChain;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};

/// What the controller tells of the cluster.
#[derive(Deserialize)]
struct Cluster {
    members: Vec<Machine>,
}

#[derive(Deserialize)]
struct Machine {
    name: String,
    address: IpAddr,
}

pub async fn find(connection: &Connection, named: &[String]) -> anyhow::Result<Vec<Api>> {
    let mut apis = connection.edge_apis(named)?;
    if !named.is_empty() || connection.is_elsewhere() {
        return Ok(apis);
    }
    let Some(own) = Membership::read(connection.data())? else { return Ok(apis) };
    let cluster: Cluster = match connection.api()?.get("/v1/cluster").await {
        Ok(cluster) => cluster,
        Err(error) => {
            eprintln!("only this machine's edge is asked: {}", ErrorChain(error.as_ref()));
            return Ok(apis);
        }
    };
    let port = connection.addresses()?.edge_api.port();
    for (name, address) in others(cluster, &own.name, port) {
        // Not the administrator's token: it goes in the clear to wherever somebody listens.
        apis.push(connection.viewers_api(address)?.named(format!("{name} ({address})")));
    }
    Ok(apis)
}

fn others(cluster: Cluster, own: &str, port: u16) -> impl Iterator<Item = (String, SocketAddr)> {
    let others = cluster.members.into_iter().filter(move |machine| machine.name != own);
    others.map(move |machine| (machine.name, SocketAddr::new(machine.address, port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn in_a_cluster_every_machines_edge_is_asked() {
        let told = json!({ "leader": { "node": "b" }, "members": [
            { "name": "a", "address": "10.0.0.1", "state": true },
            { "name": "b", "address": "10.0.0.2", "state": true },
            { "name": "c", "address": "fd00::3", "state": false },
        ]});
        let cluster: Cluster = serde_json::from_value(told).unwrap();
        let asked: Vec<String> =
            others(cluster, "a", 8182).map(|(name, address)| format!("{name} {address}")).collect();
        assert_eq!(asked, ["b 10.0.0.2:8182", "c [fd00::3]:8182"]);
    }
}
