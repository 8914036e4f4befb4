//! `roadstead join TOKEN --address A`: this machine shows the token to a machine of the cluster, whose authority the token
//! names, and is handed certificates, settings and its part of the state.

use super::credentials::{self, Requests};
use super::found::{outside, own_address, ports};
use super::membership::{Etcd, Membership, Others};
use crate::config::{Config, ConfigError};
use anyhow::{Context, bail};
use controller::cluster::{JoinAnswer, JoinCredential, JoinRequest};
use http::Method;
use identity::{Authority, Ca, Identity, JoinToken};
use lifecycle::ErrorChain;
use std::net::SocketAddr;
use web::{Client, ClientError, Credentials};

pub async fn join(config: &Config, token: &JoinToken) -> anyhow::Result<Membership> {
    let data = &config.data;
    let path = Membership::path(data);
    if path.exists() {
        let message = format!(
            "{} is of a cluster already: start it with `roadstead up --data {}`, or join with another --data",
            data.display(),
            data.display()
        );
        return Err(ConfigError::Usage(message).into());
    }
    let address = own_address(config)?;
    // Whether this machine keeps a part of the state is the cluster's to say.
    let requests = Requests::generate(credentials::roles(true))?;
    let ports = ports(config);
    let at = |port| SocketAddr::new(address, port);
    let request = JoinRequest {
        token: JoinCredential { id: token.id.clone(), secret: token.secret.clone() },
        name: config.cluster.name.clone(),
        address,
        csrs: requests.by_role(),
        peers: Some(at(ports.peers).to_string()),
        etcd_peer_url: Some(format!("https://{}", at(ports.etcd_peer))),
        etcd_client_url: Some(format!("https://{}", at(ports.etcd))),
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let answer = ask(token, &request).await?;
    if answer.etcd_endpoints.is_empty() && config.cluster.etcd.is_empty() {
        let message = "this cluster keeps its state in an etcd of yours: name it to this machine, too, with --etcd";
        return Err(ConfigError::Usage(message.into()).into());
    }

    std::fs::create_dir_all(data).with_context(|| format!("make {}", data.display()))?;
    for identity in answer.identities.values() {
        Identity::from_toml(identity)?.save(data)?;
    }
    if let Some(authority) = &answer.authority {
        Authority::from_toml(authority)?.save(data)?;
    }
    if let Some(key_pem) = &answer.ca_key {
        Ca::from_pem(&answer.ca, key_pem)?.save(&credentials::directory(data))?;
    }
    requests.keep(data, &answer.ca, &answer.certificates)?;
    let registry_key = answer.access_keys.get("registry").context("the cluster gave no keys to its objects")?;
    credentials::keep_registry_key(data, registry_key)?;
    let membership = Membership {
        name: config.cluster.name.clone(),
        address,
        holds_objects: false,
        ports,
        settings: answer.settings,
        keeps_state: answer.state,
        etcd: answer.etcd.map(|etcd| Etcd {
            binary: config.cluster.etcd_binary.clone(),
            // Only a new cluster's members compare it.
            token: "joined".into(),
            existing: true,
            initial_cluster: etcd.initial_cluster,
        }),
    };
    let controllers = answer.controllers.iter().map(|address| format!("https://{address}")).collect();
    let outside = outside(config);
    let etcd = if outside.is_some() { config.cluster.etcd.clone() } else { answer.etcd_endpoints };
    Others { etcd, controllers, outside }.write(&Others::path(data))?;
    membership.write(data)?;
    tracing::info!(name = membership.name, state = membership.keeps_state, "joined the cluster");
    Ok(membership)
}

/// Asks each machine the token names until one answers.
async fn ask(token: &JoinToken, request: &JoinRequest) -> anyhow::Result<JoinAnswer> {
    let client = Client::new(Credentials::None).with_tls(identity::pinned_client(&token.ca_fingerprint));
    let mut unreachable = Vec::new();
    for address in &token.addresses {
        match client.send_json(Method::POST, &format!("https://{address}/v1/join"), request).await {
            Ok(answer) => return Ok(answer),
            Err(ClientError::Status { status, body, .. }) => bail!("the cluster refused: {} ({status})", told(&body)),
            Err(error) => unreachable.push(format!("{address}: {}", ErrorChain(&error))),
        }
    }
    bail!("no machine of the cluster can be reached: {}", unreachable.join("; "))
}

fn told(body: &str) -> String {
    let message = serde_json::from_str::<serde_json::Value>(body).ok();
    message.and_then(|value| value["message"].as_str().map(str::to_owned)).unwrap_or_else(|| body.to_owned())
}
