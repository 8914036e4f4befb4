//! The routes: pages are read with the console's token, forms act with the caller's.

mod nodes;

use crate::action::AppForm;
use crate::controller::{Call, Controller, ControllerError};
use crate::pages::{self, Frame, Section};
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{DefaultBodyLimit, Extension, Form, Path, Query, State};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use identity::{Caller, Gate, Role, Verifier, authorization_token};
use jiff::Timestamp;
use lifecycle::ErrorChain;
use maud::Markup;
use serde::Deserialize;

/// Bytes of a form: a few short fields.
const FORM_BYTES_MAX: usize = 8 * 1024;

const SCRIPT: &str = include_str!("../assets/console.js");
const STYLE: &str = include_str!("../assets/console.css");

/// Everything comes from the console itself, nothing is inline, and forms go nowhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

pub fn router(controller: Controller, verifier: Verifier) -> Router {
    // Forms are passed on for whoever signed in: what a viewer may not do, the controller refuses.
    let people = |role: Role, _: &Method, _: &str| matches!(role, Role::Admin | Role::Viewer);
    let gate = Gate::new(verifier, "Roadstead console", people);
    Router::new()
        .route("/", get(apps))
        .route("/apps/{*id}", get(app).post(act_on_app))
        .route("/deployments", get(deployments).post(act_on_deployment))
        .route("/nodes", get(nodes::show).post(nodes::act))
        .route("/certificates", get(certificates))
        .route("/assets/console.js", get(|| async { asset("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/assets/console.css", get(|| async { asset("text/css; charset=utf-8", STYLE) }))
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(map_response(guarded))
        .layer(gate.layer())
        .with_state(controller)
}

async fn apps(State(controller): State<Controller>, Extension(caller): Extension<Caller>) -> Result<Markup, Failure> {
    let frame = frame(caller, Section::Apps, "Apps");
    let read = async { Ok((controller.apps().await?, controller.queue().await?)) };
    let (apps, queue) = read.await.map_err(|error| Failure::read(&frame, error))?;
    Ok(frame.live(&pages::apps::render(apps, &queue)))
}

/// What the app's page shows.
#[derive(Debug, Default, Deserialize)]
struct AppView {
    #[serde(default)]
    tab: String,
    version: Option<String>,
    /// An action to ask about.
    confirm: Option<String>,
}

async fn app(
    State(controller): State<Controller>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(view): Query<AppView>,
) -> Result<Markup, Failure> {
    let id = absolute(&id);
    let frame = frame(caller, Section::Apps, &id);
    let content = match view.confirm {
        Some(action) => {
            let form = AppForm { action, version: view.version, ..AppForm::default() };
            let action = form.parse().map_err(|error| Failure::form(&frame, &error))?;
            return Ok(frame.still(&pages::confirm::app(&id, &action, &form)));
        }
        None => app_content(&controller, &id, view, offers_changes(caller)).await,
    };
    let content = content.map_err(|error| Failure::read(&frame, error))?;
    Ok(frame.live(&content))
}

async fn app_content(
    controller: &Controller,
    id: &str,
    view: AppView,
    offers_changes: bool,
) -> Result<Markup, ControllerError> {
    let (app, document) = controller.app(id).await?;
    let queue = controller.queue().await?;
    let details = controller.details(id).await?;
    let tab = match (view.tab.as_str(), view.version) {
        ("configuration", None) => pages::app::Tab::Configuration(document, None),
        ("configuration", Some(version)) => {
            pages::app::Tab::Configuration(controller.version(id, &version).await?, Some(version))
        }
        ("versions", _) => pages::app::Tab::Versions(controller.versions(id).await?),
        _ => pages::app::Tab::Tasks,
    };
    let content = pages::app::Content { app: &app, details: &details, queue: &queue, tab, offers_changes };
    Ok(pages::app::render(&content))
}

async fn act_on_app(
    State(controller): State<Controller>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
    form: Result<Form<AppForm>, FormRejection>,
) -> Result<Redirect, Failure> {
    let id = absolute(&id);
    let frame = frame(caller, Section::Apps, &id);
    let Form(form) = form.map_err(|rejection| Failure::rejection(&frame, &rejection))?;
    let action = form.parse().map_err(|error| Failure::form(&frame, &error))?;
    let call = action.call(&id, form.forced());
    match controller.act(call, authorization_token(&headers).as_deref()).await {
        // The app is gone; its page would be a 404.
        Ok(()) if form.action == "destroy" => Ok(Redirect::to("/")),
        Ok(()) => Ok(Redirect::to(&pages::app_link(&id))),
        Err(ControllerError::Refused { status, message, deployments }) => {
            let content = pages::failure::refused(&id, &form, &message, &deployments);
            Err(Failure { status: shown(status), page: frame.still(&content) })
        }
        Err(error) => Err(Failure::read(&frame, error)),
    }
}

async fn deployments(
    State(controller): State<Controller>,
    Extension(caller): Extension<Caller>,
) -> Result<Markup, Failure> {
    let frame = frame(caller, Section::Deployments, "Deployments");
    let deployments = controller.deployments().await.map_err(|error| Failure::read(&frame, error))?;
    Ok(frame.live(&pages::deployments::render(&deployments, offers_changes(caller))))
}

#[derive(Debug, Deserialize)]
struct DeploymentForm {
    id: String,
    action: String,
}

async fn act_on_deployment(
    State(controller): State<Controller>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    form: Result<Form<DeploymentForm>, FormRejection>,
) -> Result<Redirect, Failure> {
    let frame = frame(caller, Section::Deployments, "Deployments");
    let Form(DeploymentForm { id, action }) = form.map_err(|rejection| Failure::rejection(&frame, &rejection))?;
    let force = match action.as_str() {
        "rollback" => false,
        "stop" => true,
        _ => return Err(Failure::page(StatusCode::UNPROCESSABLE_ENTITY, &frame, "Not done", &action)),
    };
    let call = Call::cancel_deployment(&id, force);
    match controller.act(call, authorization_token(&headers).as_deref()).await {
        Ok(()) => Ok(Redirect::to("/deployments")),
        Err(ControllerError::Refused { status, message, .. }) => {
            Err(Failure::page(shown(status), &frame, "Not done", &message))
        }
        Err(error) => Err(Failure::read(&frame, error)),
    }
}

async fn certificates(
    State(controller): State<Controller>,
    Extension(caller): Extension<Caller>,
) -> Result<Markup, Failure> {
    let frame = frame(caller, Section::Certificates, "Certificates");
    let known = controller.certificates().await.map_err(|error| Failure::read(&frame, error))?;
    Ok(frame.live(&pages::certificates::render(known.as_ref(), Timestamp::now())))
}

async fn not_found(Extension(caller): Extension<Caller>) -> Failure {
    let frame = frame(caller, Section::Apps, "Not found");
    Failure::page(StatusCode::NOT_FOUND, &frame, "Not found", "The console has no such page.")
}

fn frame(caller: Caller, section: Section, title: &str) -> Frame {
    Frame { title: title.to_owned(), section, caller: caller.0 }
}

/// A viewer is not offered what the controller would refuse.
fn offers_changes(caller: Caller) -> bool {
    caller.0 != Role::Viewer
}

/// The path capture has no leading slash; ids have.
fn absolute(id: &str) -> String {
    format!("/{}", id.trim_matches('/'))
}

/// 401 would make a browser ask for another password, though it is the controller that refuses this one.
fn shown(status: StatusCode) -> StatusCode {
    if status == StatusCode::UNAUTHORIZED { StatusCode::FORBIDDEN } else { status }
}

fn asset(content_type: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-cache")], text).into_response()
}

async fn guarded(mut response: Response) -> Response {
    let headers: [(HeaderName, &'static str); 3] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With "no-referrer" a browser sends its forms with `Origin: null`, which the gate refuses.
        (REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A page that says what went wrong.
struct Failure {
    status: StatusCode,
    page: Markup,
}

impl Failure {
    fn page(status: StatusCode, frame: &Frame, title: &str, message: &str) -> Self {
        Self { status, page: frame.still(&pages::failure::render(frame.section, title, message)) }
    }

    /// Something could not be read: a 404 is the caller's, everything else the controller's.
    fn read(frame: &Frame, error: ControllerError) -> Self {
        let (status, title) = match &error {
            ControllerError::Refused { status: StatusCode::NOT_FOUND, .. } => (StatusCode::NOT_FOUND, "Not found"),
            ControllerError::Refused { .. } => (StatusCode::BAD_GATEWAY, "The controller refused the console"),
            _ => (StatusCode::BAD_GATEWAY, "The controller could not be asked"),
        };
        let message = ErrorChain(&error).to_string();
        // Live, so that the page comes back with the controller.
        let content = pages::failure::render(frame.section, title, &message);
        Self { status, page: frame.live(&content) }
    }

    fn form(frame: &Frame, error: &crate::action::FormError) -> Self {
        Self::page(StatusCode::UNPROCESSABLE_ENTITY, frame, "Not done", &error.to_string())
    }

    fn rejection(frame: &Frame, rejection: &FormRejection) -> Self {
        Self::page(rejection.status(), frame, "Not done", &rejection.body_text())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, self.page).into_response()
    }
}

#[cfg(test)]
mod tests;
