//! For tests and comparisons: the service alone, in a process of its own that can be killed and paused. Its one argument
//! is JSON; it prints `ready ADDRESS` (of its API, which is open on loopback) and works until SIGTERM.

use serde::Deserialize;
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use store::{ClientCredentials, EtcdClient, Store};
use vip::{Checksum, Config, FloatingAddress, VRID_FIRST, Version, VirtualRouter};

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Arguments {
    node: String,
    interface: String,
    vrid: u8,
    /// Of the one virtual router that the other settings are about.
    addresses: Vec<(IpAddr, u8)>,
    /// Instead: addresses that are spread over the nodes, a virtual router each.
    spread: Vec<(IpAddr, u8)>,
    spread_after_ms: Option<u64>,
    priority: u8,
    advert_ms: u64,
    version: u8,
    unicast_peers: Vec<IpAddr>,
    preempt: bool,
    rfc_checksum: bool,
    auth: Option<[u8; 8]>,
    store: Option<String>,
    /// Several endpoints of one store.
    stores: Vec<String>,
    ready_url: Option<String>,
    listen: SocketAddr,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            node: "node".into(),
            interface: "eth0".into(),
            vrid: 51,
            addresses: Vec::new(),
            spread: Vec::new(),
            spread_after_ms: None,
            priority: 100,
            advert_ms: 100,
            version: 3,
            unicast_peers: Vec::new(),
            preempt: true,
            rfc_checksum: false,
            auth: None,
            store: None,
            stores: Vec::new(),
            ready_url: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 8183)),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    lifecycle::logs::install(lifecycle::logs::Format::Text, "info");
    let argument = std::env::args().nth(1).ok_or("one argument is needed: JSON")?;
    let arguments: Arguments = serde_json::from_str(&argument)?;
    let interface = arguments.interface.clone();
    let floating = |&(address, prefix): &_| FloatingAddress { address, prefix, interface: interface.clone() };
    let spread: Vec<FloatingAddress> = arguments.spread.iter().map(floating).collect();
    let router = VirtualRouter {
        vrid: arguments.vrid,
        interface: arguments.interface,
        addresses: arguments.addresses,
        priority: arguments.priority,
        advert_interval: Duration::from_millis(arguments.advert_ms),
        version: if arguments.version == 2 { Version::V2 } else { Version::V3 },
        unicast_peers: arguments.unicast_peers,
        preempt: arguments.preempt,
        checksum: if arguments.rfc_checksum { Checksum::Rfc9568 } else { Checksum::WithPseudoHeader },
        auth: arguments.auth.map(vip::Password),
        ..VirtualRouter::default()
    };
    let endpoints: Vec<String> = arguments.stores.into_iter().chain(arguments.store).collect();
    let store = match endpoints.is_empty() {
        false => Some(Arc::new(EtcdClient::connect(&endpoints, ClientCredentials::None, None)?) as Arc<dyn Store>),
        true => None,
    };
    let config = Config {
        node: arguments.node.clone(),
        routers: if spread.is_empty() { vec![router] } else { vip::spread(&arguments.node, VRID_FIRST, &spread) },
        ready_url: arguments.ready_url,
        ready_credentials: web::Credentials::None,
        store,
        spread_after: arguments.spread_after_ms.map(Duration::from_millis),
        listen: Some(arguments.listen),
        verifier: identity::Verifier::Open,
    };
    let stop = lifecycle::Stop::new();
    stop.on_signals()?;
    let started = vip::start(config, stop).await?;
    for line in started.ready_lines("vip") {
        println!("{line}");
    }
    started.finished().await
}
