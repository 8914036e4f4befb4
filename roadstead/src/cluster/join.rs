//! `roadstead join TOKEN --address A`: this machine shows the token to a machine of the cluster, whose authority the token
//! names, and is handed certificates, settings and its part of the state. What is cut off half-way is known by a mark, and
//! may be done again; a machine that was surely not taken in is left as it was.

use super::credentials::{self, Requests};
use super::found::{outside, own_address, ports};
use super::membership::{Etcd, Membership, Others, make_directory};
use crate::config::{Config, ConfigError};
use anyhow::Context;
use controller::cluster::{JoinAnswer, JoinCredential, JoinRequest};
use http::{Method, StatusCode};
use identity::{Authority, Ca, Identity, JoinToken, Request, SealKey, private_file};
use lifecycle::ErrorChain;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
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
    if Authority::path(data).try_exists()? && !mark(data).try_exists()? {
        let message =
            format!("{} is of a platform alone, which would be lost: join with another --data", data.display());
        return Err(ConfigError::Usage(message).into());
    }
    let address = own_address(config)?;
    make_directory(data)?;
    let is_first_attempt = !mark(data).try_exists()?;
    // Whether this machine keeps a part of the state is the cluster's to say.
    let requests = Requests::generate(credentials::roles(true))?.with_node(node_key(data)?);
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
    let answer = match ask(token, &request).await {
        Ok(answer) => answer,
        Err(error) => {
            // An earlier attempt may have been heard.
            if is_first_attempt && error.is_definite() {
                remove_mark(data)?;
            }
            return Err(error.into());
        }
    };
    if answer.etcd_endpoints.is_empty() && config.cluster.etcd.is_empty() {
        let message = "this cluster keeps its state in an etcd of yours: name it to this machine, too, with --etcd";
        return Err(ConfigError::Usage(message.into()).into());
    }

    for identity in answer.identities.values() {
        Identity::from_toml(identity)?.save(data)?;
    }
    if let Some(authority) = &answer.authority {
        Authority::from_toml(authority)?.save(data)?;
    }
    if let Some(key_pem) = &answer.ca_key {
        Ca::from_pem(&answer.ca, key_pem)?.save(&credentials::directory(data))?;
    }
    if let Some(seal_key) = &answer.seal_key {
        SealKey::parse(seal_key)?.write(&credentials::seal_key_path(data))?;
    }
    requests.keep(data, &answer.ca, &answer.certificates)?;
    let registry_key = answer.access_keys.get("registry").context("the cluster gave no keys to its objects")?;
    credentials::keep_registry_key(data, registry_key)?;
    let membership = Membership {
        name: config.cluster.name.clone(),
        address,
        unsettled: false,
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
    remove_mark(data)?;
    tracing::info!(name = membership.name, state = membership.keeps_state, "joined the cluster");
    Ok(membership)
}

/// There while a machine joins, and after that was cut off. It holds the machine's key: by it the cluster knows one that
/// asks again.
fn mark(data: &Path) -> PathBuf {
    data.join("joining")
}

fn node_key(data: &Path) -> anyhow::Result<Request> {
    let path = mark(data);
    if let Some(key_pem) = private_file::read_if_there(&path)? {
        return Request::renewing(&key_pem).with_context(|| format!("{} holds no key: remove it", path.display()));
    }
    let request = Request::generate().context("make a key")?;
    private_file::write(&path, &request.key_pem)?;
    Ok(request)
}

fn remove_mark(data: &Path) -> anyhow::Result<()> {
    let path = mark(data);
    std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))
}

/// What was handed over half-way starts nothing: alone, it would take the cluster's authority for its own.
pub fn refuse_half_joined(data: &Path) -> anyhow::Result<()> {
    if !mark(data).try_exists()? {
        return Ok(());
    }
    let message = format!("{} was joining a cluster and was cut off: run `roadstead join` again", data.display());
    Err(ConfigError::Usage(message).into())
}

/// Why the cluster did not take this machine in.
#[derive(Debug, thiserror::Error)]
enum JoinError {
    #[error("the cluster refused: {message} ({status})")]
    Refused { status: StatusCode, message: String, is_in_doubt: bool },
    #[error("no machine of the cluster can be reached: {}", tried.join("; "))]
    Unreachable { tried: Vec<String>, is_in_doubt: bool },
}

impl JoinError {
    /// Whether this machine was surely not taken in.
    fn is_definite(&self) -> bool {
        let (Self::Refused { is_in_doubt, .. } | Self::Unreachable { is_in_doubt, .. }) = self;
        !is_in_doubt
    }
}

/// Asks each machine the token names until one answers.
async fn ask(token: &JoinToken, request: &JoinRequest) -> Result<JoinAnswer, JoinError> {
    let client = Client::new(Credentials::None).with_tls(identity::pinned_client(&token.ca_fingerprint));
    let (mut tried, mut is_in_doubt) = (Vec::new(), false);
    for address in &token.addresses {
        match client.send_json(Method::POST, &format!("https://{address}/v1/join"), request).await {
            Ok(answer) => return Ok(answer),
            Err(ClientError::Status { status, body, .. }) => {
                // One that could not do it may have begun.
                is_in_doubt |= !status.is_client_error();
                return Err(JoinError::Refused { status, message: told(&body), is_in_doubt });
            }
            Err(error) => {
                // A request that was sent may have been heard.
                is_in_doubt |= !matches!(&error, ClientError::Call { source, .. } if source.is_connect());
                tried.push(format!("{address}: {}", ErrorChain(&error)));
            }
        }
    }
    Err(JoinError::Unreachable { tried, is_in_doubt })
}

fn told(body: &str) -> String {
    let message = serde_json::from_str::<serde_json::Value>(body).ok();
    message.and_then(|value| value["message"].as_str().map(str::to_owned)).unwrap_or_else(|| body.to_owned())
}

#[cfg(test)]
mod tests;
