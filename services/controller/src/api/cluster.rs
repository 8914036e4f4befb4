//! `/v1/cluster`, joining, join tokens, certificates, and the removal of a machine.

use super::answer::{Failure, json_ok, json_with};
use super::call::Call;
use super::{Api, now};
use crate::cluster::registrar::{Refusal, Registrar};
use crate::cluster::tokens::{LIFETIME_DEFAULT, USES_DEFAULT};
use crate::desk::{self, Ask};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use lifecycle::ErrorChain;
use model::NodeId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// `GET /v1/cluster`: the machines, who leads, and how the state fares.
pub async fn show(api: &Api) -> Result<Response, Failure> {
    Ok(json_ok(&registrar(api)?.describe().await?))
}

/// `POST /v1/join`
pub async fn join(api: &Api, call: &Call) -> Result<Response, Failure> {
    answer(&registrar(api)?.join(call.read_as()?, now()).await?)
}

/// `POST /v1/certificates`
pub async fn certificates(api: &Api, call: &Call) -> Result<Response, Failure> {
    answer(&registrar(api)?.renew(call.read_as()?, call.peer.as_ref()).await?)
}

/// `GET /v1/join-tokens`: all but their secrets.
pub async fn tokens(api: &Api) -> Result<Response, Failure> {
    let tokens = registrar(api)?.tokens().await?;
    let token = |(id, record, _): &(String, crate::cluster::tokens::Record, _)| {
        json!({
            "id": id,
            "createdAt": record.created_at,
            "expiresAt": record.expires_at,
            "usesLeft": record.uses_left,
            "state": record.state(now()),
        })
    };
    Ok(json_ok(&tokens.iter().map(token).collect()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRequest {
    ttl_seconds: Option<u64>,
    uses: Option<u32>,
}

/// `POST /v1/join-tokens`: the token is shown here and never again.
pub async fn issue_token(api: &Api, call: &Call) -> Result<Response, Failure> {
    let wanted: TokenRequest = call.read_as()?;
    let lifetime = wanted.ttl_seconds.map_or(LIFETIME_DEFAULT, Duration::from_secs);
    let issued = registrar(api)?.issue_token(lifetime, wanted.uses.unwrap_or(USES_DEFAULT), now()).await?;
    let body = json!({
        "id": issued.token.id,
        "token": issued.token.to_string(),
        "expiresAt": issued.record.expires_at,
        "usesLeft": issued.record.uses_left,
    });
    Ok(json_with(StatusCode::CREATED, &body))
}

/// `DELETE /v1/join-tokens/{id}`
pub async fn revoke_token(api: &Api, id: &str) -> Result<Response, Failure> {
    registrar(api)?.revoke_token(id).await?;
    Ok(json_ok(&json!({ "id": id })))
}

/// `DELETE /v1/nodes/{id}`: with `force` also one that has tasks, or the cluster's objects.
pub async fn remove(api: &Api, id: &str, call: &Call) -> Result<Response, Failure> {
    let (world, node) = (api.desk.view(), NodeId::new(id));
    let tasks = world.tasks.values().filter(|task| task.task.node == node && !task.seen.state.is_terminal()).count();
    let is_heard = world.nodes.get(&node).is_some_and(|record| record.connected);
    let forced = call.flag("force", false);
    if tasks > 0 && is_heard && !forced {
        let message = format!("the machine '{id}' is alive and has {tasks} tasks: drain it first, or use force");
        return Err(Failure::message(StatusCode::CONFLICT, message));
    }
    let was_member = match &api.context.registrar {
        Some(registrar) => registrar.remove(id, forced).await?,
        None => false,
    };
    match api.ask(Ask::RemoveNode { node }).await {
        Ok(_) => {}
        // One whose agent never came.
        Err(failure) if was_member && failure.status() == StatusCode::NOT_FOUND => {}
        Err(failure) => return Err(failure),
    }
    Ok(json_ok(&json!({ "id": id })))
}

pub fn registrar(api: &Api) -> Result<&Arc<Registrar>, Failure> {
    let alone = || Failure::not_found("this machine is in no cluster (begin one with `roadstead up --address A`)");
    api.context.registrar.as_ref().ok_or_else(alone)
}

fn answer(value: &impl Serialize) -> Result<Response, Failure> {
    Ok(axum::Json(value).into_response())
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::Token(_) | Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
            Refusal::Taken(_) => StatusCode::CONFLICT,
            Refusal::NotFound(_) => StatusCode::NOT_FOUND,
            Refusal::NotNow(_) | Refusal::Superseded | Refusal::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::message(status, ErrorChain(&refusal).to_string())
    }
}

impl From<desk::Refusal> for Refusal {
    fn from(refusal: desk::Refusal) -> Self {
        Self::NotNow(ErrorChain(&refusal).to_string())
    }
}
