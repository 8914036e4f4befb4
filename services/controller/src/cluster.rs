//! A controller among several: what it is given, what the machines of a cluster are, and the parts that only a cluster
//! has. Where there is one machine, none of this runs.

pub(crate) mod certificates;
pub(crate) mod etcd;
#[cfg(test)]
pub(crate) mod fake_members;
pub(crate) mod join;
pub(crate) mod keeper;
pub(crate) mod overview;
pub(crate) mod registrar;
pub(crate) mod revocation;
pub(crate) mod roster;
pub(crate) mod tokens;

pub use certificates::{CertificatesAnswer, CertificatesRequest};
pub use join::{EtcdStart, JoinAnswer, JoinCredential, JoinRequest};

use identity::{Authority, Ca, Tls};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use store::Members;

/// Where the other controllers, and machines that join, reach a controller.
pub const PEERS_PORT_DEFAULT: u16 = 8081;
/// etcd's own ports.
pub const ETCD_CLIENT_PORT_DEFAULT: u16 = 2379;
pub const ETCD_PEER_PORT_DEFAULT: u16 = 2380;
/// Machines that keep the state and may lead. One of three may fail, two of five.
pub const STATE_NODES_DEFAULT: usize = 3;
/// Machines of one cluster.
pub const MEMBERS_MAX: usize = 256;

/// What makes a controller one of several.
pub struct Cluster {
    /// This machine's name, unique in the cluster; its certificates bear it.
    pub node: String,
    /// This machine's address, by which the others know it.
    pub address: IpAddr,
    /// Sessions, the other controllers, and machines that join; mutual TLS.
    pub peers_listen: SocketAddr,
    /// `host:port` of that for others; empty: as bound.
    pub advertise: String,
    /// This controller's certificate and key, renewed by somebody else.
    pub tls: Tls,
    /// May lead. Others pass on what they are asked.
    pub candidate: bool,
    /// Signs certificates; on machines that keep the state.
    pub ca: Option<Arc<Ca>>,
    /// The platform's tokens, handed to machines that join; on machines that keep the state.
    pub authority: Option<Authority>,
    pub members: Arc<dyn Members>,
    /// Of this machine's member of the state; empty where there is none. On a machine that may lead, that means an etcd of
    /// the user's, whose members are none of our affair.
    pub etcd_peer_url: String,
    pub etcd_client_url: String,
    /// What the first leader of a new cluster writes down.
    pub settings: Settings,
    /// Of the binary.
    pub version: String,
}

/// What holds for every machine of the cluster; `/roadstead/cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    pub name: String,
    /// Apps are served as `<app>.<domain>`.
    pub domain: String,
    /// `host:port` of the tunnel to the objects, on the machine that holds them.
    pub objects: String,
    /// Addresses that move between the machines, with their prefix.
    pub vips: Vec<String>,
    pub vip_advert_ms: u64,
    /// How long a machine waits before it asks for an address when others hold more of them; 0: it never does.
    pub vip_spread_after_ms: u64,
    /// The first address's virtual router id; those of the others count up.
    pub vip_vrid: u8,
    /// Of VRRP: 2 or 3.
    pub vip_vrrp: u8,
    /// The machines, where they do not speak to the multicast group.
    pub vip_peers: Vec<IpAddr>,
    /// A machine this silent gets no more requests…
    pub suspect_after_ms: u64,
    /// …and one this silent is lost.
    pub lost_after_ms: u64,
    /// Machines that keep the state and may lead.
    pub state_nodes: usize,
}

/// A machine of the cluster; `/roadstead/members/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub name: String,
    pub address: IpAddr,
    /// `host:port` of its controller.
    pub peers: String,
    /// It keeps the state, and its controller may lead.
    pub state: bool,
    /// Of its member of the state; empty where there is none.
    #[serde(default)]
    pub etcd_peer_url: String,
    #[serde(default)]
    pub etcd_client_url: String,
    /// RFC 3339.
    pub joined_at: String,
    #[serde(default)]
    pub version: String,
    /// By which join token; empty for the founder.
    #[serde(default)]
    pub join_token: String,
    /// SHA-256 of the key that its `node` certificates have, by which it is told apart from a removed machine of the same
    /// name; empty for the founder.
    #[serde(default)]
    pub node_key: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: String::new(),
            domain: "localhost".to_owned(),
            objects: String::new(),
            vips: Vec::new(),
            vip_advert_ms: 1000,
            vip_spread_after_ms: 10_000,
            vip_vrid: 100,
            vip_vrrp: 3,
            vip_peers: Vec::new(),
            suspect_after_ms: 1500,
            lost_after_ms: 5000,
            state_nodes: STATE_NODES_DEFAULT,
        }
    }
}

impl Cluster {
    /// Whether the members of etcd are the cluster's machines.
    pub(crate) fn manages_etcd(&self) -> bool {
        !self.etcd_peer_url.is_empty()
    }
}

/// `host:port` of an address; IPv6 in brackets.
pub(crate) fn host_port(address: IpAddr, port: u16) -> String {
    SocketAddr::new(address, port).to_string()
}
