//! `roadstead up --address A`: the first machine of a cluster makes the cluster's authority and its own certificates. What
//! it writes into the state follows in [`super::state`], when the state is there.

use super::credentials::{self, Requests};
use super::membership::{Etcd, Membership, Others, Outside, Ports};
use crate::config::{Config, ConfigError};
use anyhow::Context;
use controller::cluster::Settings;
use identity::{Authority, Ca};
use std::net::{IpAddr, SocketAddr, TcpListener};

/// In every certificate of the authority, for people who read one.
const CLUSTER_NAME: &str = "roadstead";

pub fn found(config: &Config) -> anyhow::Result<Membership> {
    let address = own_address(config)?;
    let data = &config.data;
    // Tokens and S3 keys; those of a machine that was alone until now are kept, and so is an authority that was restored.
    Authority::load_or_create(data)?;
    let directory = credentials::directory(data);
    let ca = if directory.join("ca.key").try_exists()? {
        Ca::load(&directory)?
    } else {
        let ca = Ca::create(CLUSTER_NAME)?;
        ca.save(&directory)?;
        ca
    };
    credentials::make_seal_key(data)?;
    let name = &config.cluster.name;
    let requests = Requests::generate(credentials::roles(true))?;
    requests.keep(data, ca.certificate_pem(), &requests.sign(&ca, name, address)?)?;

    let membership = membership(config, address)?;
    let outside = outside(config);
    let etcd = match &outside {
        Some(_) => config.cluster.etcd.clone(),
        None => vec![membership.etcd_url(membership.ports.etcd)],
    };
    let peers = membership.at(membership.ports.peers);
    Others { etcd, controllers: vec![format!("https://{peers}")], outside }.write(&Others::path(data))?;
    // Last: a machine with this file is of a cluster.
    membership.write(data)?;
    Ok(membership)
}

fn membership(config: &Config, address: IpAddr) -> anyhow::Result<Membership> {
    let cluster = &config.cluster;
    let ports = ports(config);
    let peer_url = format!("https://{}", SocketAddr::new(address, ports.etcd_peer));
    let token = identity::Token::generate().context("draw random bits")?;
    Ok(Membership {
        name: cluster.name.clone(),
        address,
        unsettled: true,
        ports,
        settings: Settings {
            name: CLUSTER_NAME.into(),
            domain: config.domain.clone(),
            objects: SocketAddr::new(address, ports.tunnel).to_string(),
            vips: cluster.vips.iter().map(ToString::to_string).collect(),
            vip_advert_ms: cluster.vip_advert_ms,
            vip_spread_after_ms: cluster.vip_spread_after_ms,
            vip_vrid: cluster.vip_vrid,
            vip_vrrp: cluster.vip_vrrp,
            vip_peers: cluster.vip_peers.clone(),
            suspect_after_ms: cluster.suspect_after_ms,
            lost_after_ms: cluster.lost_after_ms,
            state_nodes: cluster.state_nodes,
        },
        keeps_state: true,
        etcd: cluster.etcd.is_empty().then(|| Etcd {
            binary: cluster.etcd_binary.clone(),
            // Not a secret: it tells clusters apart.
            token: token.reveal().chars().take(16).collect(),
            existing: false,
            initial_cluster: vec![(cluster.name.clone(), peer_url)],
        }),
    })
}

/// How the user's etcd is reached, where the state is kept in one.
pub fn outside(config: &Config) -> Option<Outside> {
    let cluster = &config.cluster;
    (!cluster.etcd.is_empty()).then(|| Outside {
        user: cluster.etcd_user.clone(),
        ca: cluster.etcd_ca.clone(),
        certificate: cluster.etcd_certificate.clone(),
        key: cluster.etcd_key.clone(),
    })
}

pub fn ports(config: &Config) -> Ports {
    let cluster = &config.cluster;
    Ports {
        peers: cluster.peers_port,
        etcd: cluster.etcd_port,
        etcd_peer: cluster.etcd_peer_port,
        tunnel: cluster.tunnel_port,
    }
}

/// The address the others shall reach this machine by; it must be one of its own.
pub fn own_address(config: &Config) -> anyhow::Result<IpAddr> {
    let address = config.cluster.address.context("a machine of a cluster has an address")?;
    TcpListener::bind((address, 0)).map_err(|error| {
        ConfigError::Usage(format!("--address {address} is not an address of this machine ({error})"))
    })?;
    Ok(address)
}
