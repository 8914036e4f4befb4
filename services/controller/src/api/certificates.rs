//! `/v1/certificates`: those for apps' names, and how it stands with the orders. A private key goes in and never out.

use super::answer::{Failure, json_ok, json_with};
use super::call::Call;
use super::{Api, now};
use crate::acme::{Chain, ChainError, Held, OrderRecord, Settings, Vault, VaultError, certificate_id, put, renew_at};
use crate::{keys, routes};
use axum::response::Response;
use http::StatusCode;
use identity::KeyPair;
use lifecycle::ErrorChain;
use model::Timestamp;
use routing::certificate::{CertificateDocument, CertificateIssuer, OcspSpec};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use store::Operation;

/// What is known when somebody asks.
struct Known {
    certificates: BTreeMap<String, CertificateDocument>,
    orders: BTreeMap<String, OrderRecord>,
    wanted: BTreeSet<String>,
    settings: Option<Settings>,
}

/// `GET /v1/certificates`
pub async fn list(api: &Api) -> Result<Response, Failure> {
    let known = known(api).await?;
    let certificates: Vec<Value> = known.certificates.iter().map(|(id, one)| certificate(id, one)).collect();
    let names: Vec<Value> = known.wanted.iter().map(|name| standing(name, &known, now())).collect();
    let acme = known.settings.as_ref().map(
        |settings| json!({ "directory": settings.directory, "email": settings.email, "challenge": settings.challenge }),
    );
    Ok(json_ok(&json!({ "certificates": certificates, "names": names, "acme": acme })))
}

/// `GET /v1/certificates/{id or name}`
pub async fn show(api: &Api, id: &str) -> Result<Response, Failure> {
    let known = known(api).await?;
    let of_it: Vec<Value> = found(&known.certificates, id).map(|(id, one)| certificate(id, one)).collect();
    let name = known.wanted.get(id).map(|name| standing(name, &known, now()));
    if of_it.is_empty() && name.is_none() {
        return Err(none(id));
    }
    Ok(json_ok(&json!({ "certificates": of_it, "name": name })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    /// PEM: the certificate of the name first.
    certificate: String,
    /// PEM.
    key: String,
    /// Which of its names it is shown for; all of them when none are named.
    #[serde(default)]
    names: Vec<String>,
    /// Shown to clients that ask for no name, too.
    #[serde(default)]
    default: bool,
    /// What its authority says of it goes along in handshakes.
    #[serde(default)]
    ocsp: bool,
}

/// `PUT /v1/certificates`: replaces an earlier one that was given for the same first name.
pub async fn add(api: &Api, call: &Call) -> Result<Response, Failure> {
    let given: Given = call.read_as()?;
    let chain = Chain::read(given.certificate.as_bytes(), given.key.as_bytes())?;
    let names: Vec<String> = given.names.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
    chain.check(&names, now())?;
    let names = if names.is_empty() { chain.names } else { names };
    let first = names.first().ok_or(ChainError::NoName)?;
    let id = certificate_id(CertificateIssuer::Given, first);
    let vault = vault(api)?;
    let pair = KeyPair { key: given.key.into_bytes(), cert: given.certificate.into_bytes() };
    let sealed = vault.seal_key()?.seal_key_pair(&pair).map_err(VaultError::from)?;
    let document = CertificateDocument {
        v: 0,
        names,
        sealed,
        not_before_s: chain.not_before_s,
        not_after_s: chain.not_after_s,
        issuer: CertificateIssuer::Given,
        default: given.default,
        ocsp: given.ocsp.then(OcspSpec::default),
    };
    vault.write(vec![put(keys::certificate(&id), &document)]).await?;
    vault.changed.notify_one();
    tracing::info!(id, "a certificate was given");
    Ok(json_with(StatusCode::CREATED, &certificate(&id, &document)))
}

/// `DELETE /v1/certificates/{id or name}`
pub async fn remove(api: &Api, id: &str) -> Result<Response, Failure> {
    let vault = vault(api)?;
    let certificates = vault.certificates().await?;
    let ids: Vec<String> = found(&certificates, id).map(|(id, _)| id.clone()).collect();
    if ids.is_empty() {
        return Err(none(id));
    }
    vault.write(ids.iter().map(|id| Operation::delete(keys::certificate(id))).collect()).await?;
    vault.changed.notify_one();
    tracing::info!(?ids, "certificates were removed");
    Ok(json_ok(&json!({ "removed": ids })))
}

/// `POST /v1/certificates/{name}/renew`: asks now, however long it would wait.
pub async fn renew(api: &Api, name: &str) -> Result<Response, Failure> {
    let name = name.to_ascii_lowercase();
    if !routes::certificate_names(&api.desk.view(), &api.context.domain).contains(&name) {
        let message = format!("no app asks for a certificate for '{name}' (label roadstead.https=acme)");
        return Err(Failure::not_found(message));
    }
    let vault = vault(api)?;
    let order = OrderRecord { renews: true, next_at: None, asked_at: None, ..vault.order(&name).await? };
    vault.write(vec![put(keys::acme_order(&name), &order)]).await?;
    vault.changed.notify_one();
    Ok(json_ok(&json!({ "name": name })))
}

fn vault(api: &Api) -> Result<&Vault, Failure> {
    let none = || Failure::message(StatusCode::SERVICE_UNAVAILABLE, "this controller keeps no certificates");
    api.context.vault.as_deref().ok_or_else(none)
}

async fn known(api: &Api) -> Result<Known, Failure> {
    let vault = vault(api)?;
    Ok(Known {
        certificates: vault.certificates().await?,
        orders: vault.orders().await?,
        wanted: routes::certificate_names(&api.desk.view(), &api.context.domain),
        settings: if vault.seal_key().is_ok() { vault.settings().await? } else { None },
    })
}

fn found<'a>(
    certificates: &'a BTreeMap<String, CertificateDocument>,
    id: &'a str,
) -> impl Iterator<Item = (&'a String, &'a CertificateDocument)> {
    certificates.iter().filter(move |(known, one)| *known == id || one.names.iter().any(|name| name == id))
}

fn none(id: &str) -> Failure {
    Failure::not_found(format!("there is no certificate '{id}', and no app asks for one of that name"))
}

fn certificate(id: &str, document: &CertificateDocument) -> Value {
    let held = Held::from(document);
    let renew_at = (document.issuer == CertificateIssuer::Acme).then(|| renew_at(&held));
    json!({
        "id": id,
        "names": document.names,
        "issuer": document.issuer,
        "default": document.default,
        "notBefore": held.not_before,
        "notAfter": held.not_after,
        "renewAt": renew_at,
    })
}

/// How it stands with a name that an app asks a certificate for.
fn standing(name: &str, known: &Known, now: Timestamp) -> Value {
    let good = found(&known.certificates, name).find(|(_, one)| Held::from(*one).not_after > now);
    let order = known.orders.get(name).cloned().unwrap_or_default();
    let failed = (order.failures > 0).then(|| order.message.clone());
    let (state, message) = match (good, failed, &order.under_way) {
        (Some(_), None, None) => ("valid", String::new()),
        (Some(_), Some(message), _) => ("valid", format!("it could not be renewed: {message}")),
        (_, Some(message), _) => ("failed", message),
        (_, None, Some(under_way)) => ("asked", under_way.step.clone()),
        (None, None, None) if order.asked_at.is_some() => ("asked", "the authority is asked for an order".to_owned()),
        (None, None, None) if known.settings.is_none() => {
            ("waiting", "no certificate authority may be asked yet: start the platform with --acme-email".to_owned())
        }
        (None, None, None) => ("waiting", String::new()),
    };
    json!({
        "name": name,
        "state": state,
        "message": message,
        "failures": order.failures,
        "nextAt": order.next_at,
        "certificate": good.map(|(id, _)| id),
    })
}

impl From<ChainError> for Failure {
    fn from(error: ChainError) -> Self {
        Self::message(StatusCode::UNPROCESSABLE_ENTITY, ErrorChain(&error).to_string())
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        Self::message(StatusCode::SERVICE_UNAVAILABLE, ErrorChain(&error).to_string())
    }
}
