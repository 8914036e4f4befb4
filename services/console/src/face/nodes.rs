//! The nodes' page, and what its forms ask for.

use super::{Failure, frame, offers_changes, shown};
use crate::action::NodeForm;
use crate::controller::{Controller, ControllerError};
use crate::pages::{self, Section};
use axum::extract::rejection::FormRejection;
use axum::extract::{Extension, Form, Query, State};
use axum::response::Redirect;
use http::HeaderMap;
use identity::{Caller, authorization_token};
use lifecycle::ErrorChain;
use maud::Markup;
use serde::Deserialize;

/// What the nodes' page shows.
#[derive(Debug, Default, Deserialize)]
pub(super) struct NodesView {
    /// An action to ask about, and the node it is about.
    confirm: Option<String>,
    #[serde(default)]
    node: String,
}

pub(super) async fn show(
    State(controller): State<Controller>,
    Extension(caller): Extension<Caller>,
    Query(NodesView { confirm, node }): Query<NodesView>,
) -> Result<Markup, Failure> {
    let frame = frame(caller, Section::Nodes, "Nodes");
    if let Some(action) = confirm {
        let form = NodeForm { action, node };
        let action = form.parse().map_err(|error| Failure::form(&frame, &error))?;
        return Ok(frame.still(&pages::confirm::node(action, &form)));
    }
    let (nodes, cluster) = tokio::join!(controller.nodes(), controller.cluster());
    let nodes = nodes.map_err(|error| Failure::read(&frame, error))?;
    let content = pages::nodes::Content {
        nodes: nodes.as_deref(),
        // The nodes are worth showing without it.
        cluster: cluster.as_ref().map(Option::as_ref).map_err(|error| ErrorChain(error).to_string()),
        offers_changes: offers_changes(caller),
    };
    Ok(frame.live(&pages::nodes::render(&content)))
}

pub(super) async fn act(
    State(controller): State<Controller>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    form: Result<Form<NodeForm>, FormRejection>,
) -> Result<Redirect, Failure> {
    let frame = frame(caller, Section::Nodes, "Nodes");
    let Form(form) = form.map_err(|rejection| Failure::rejection(&frame, &rejection))?;
    let action = form.parse().map_err(|error| Failure::form(&frame, &error))?;
    match controller.act(action.call(&form.node), authorization_token(&headers).as_deref()).await {
        Ok(()) => Ok(Redirect::to("/nodes")),
        Err(ControllerError::Refused { status, message, .. }) => {
            Err(Failure::page(shown(status), &frame, "Not done", &message))
        }
        Err(error) => Err(Failure::read(&frame, error)),
    }
}
