//! vulcand's API on the edge's own port: objects are read here, by the edge's right to read them; whoever changes them is
//! passed on to the controller that leads, with the credentials they showed, since an edge may write nothing. An edge without
//! controllers asks the store itself, whose rights decide.

use crate::activity::{Activity, Figures};
use crate::current::Current;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use lifecycle::ErrorChain;
use routing::Order;
use serde_json::json;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use vulcand::Alias;
use vulcand::statistics::{QUANTILES, Recently, RoundTripStats, Statistics};

/// How vulcand's keys are read, and its API served.
#[derive(Default)]
pub struct Vulcand {
    /// Frontends are reachable by these, too (vulcand's `-aliases`).
    pub aliases: Vec<Alias>,
    /// Which of two routes of the same priority goes first.
    pub order: Order,
    /// What makes the API of the edge's statistics; none: the edge does not serve it.
    pub api: Option<MakeApi>,
}

pub type MakeApi = Box<dyn FnOnce(Arc<dyn Statistics>) -> Router + Send>;

/// Where the controllers serve vulcand's API.
const CONTROLLERS_PATH: &str = "/vulcand";
/// It changes this process, not the store.
const LOG_PATH: &str = "/v2/log/";
/// Whoever asks while no controller leads waits this long.
const LEADER_WAIT_MAX: Duration = Duration::from_secs(2);
/// Bytes of a request that is passed on; vulcand's objects are no larger.
const BODY_BYTES_MAX: usize = 1 << 20;

/// The name of a frontend's route ends so.
const FRONTENDS_SUFFIX: &str = "@vulcand";

/// What a request is passed on with.
const PASSED_HEADERS: [HeaderName; 2] = [AUTHORIZATION, CONTENT_TYPE];

/// The controller that leads, as the session knows it: `http://host:port`.
pub(crate) type Leader = watch::Receiver<Option<String>>;

/// The way to whoever may write.
#[derive(Clone)]
pub(crate) struct Onward {
    pub leader: Leader,
    pub client: web::Client,
}

/// What `top` shows: the last seconds.
pub(crate) struct Recent {
    pub activity: Arc<Activity>,
    pub current: Arc<Current>,
}

impl Statistics for Recent {
    fn read(&self) -> Pin<Box<dyn Future<Output = Recently> + Send + '_>> {
        Box::pin(async {
            let top = self.activity.top(&self.current.load(), usize::MAX).await;
            let window = Duration::from_secs_f64(top.window_s);
            let stats = |figures: Figures| {
                let time = |quantile| figures.whole.distribution.quantile(quantile / 100.0).unwrap_or_default();
                RoundTripStats::new(window, &figures.codes, QUANTILES.map(time))
            };
            let frontends = top
                .routes
                .into_iter()
                .filter_map(|row| Some((row.route.strip_suffix(FRONTENDS_SUFFIX)?.to_owned(), stats(row.figures))));
            let servers = top.servers.into_iter().map(|row| (row.url, stats(row.figures)));
            Recently { frontends: frontends.collect(), servers: servers.collect() }
        })
    }
}

/// The API as this edge serves it. `onward`: `None` without controllers.
pub(crate) fn api(make: MakeApi, statistics: Arc<dyn Statistics>, onward: Option<Onward>) -> Router {
    let router = make(statistics);
    match onward {
        Some(onward) => router.layer(axum::middleware::from_fn_with_state(onward, pass_on_changes)),
        None => router,
    }
}

async fn pass_on_changes(State(onward): State<Onward>, request: Request, next: Next) -> Response {
    if request.method().is_safe() || request.uri().path().starts_with(LOG_PATH) {
        return next.run(request).await;
    }
    onward.ask(request).await
}

impl Onward {
    async fn ask(mut self, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
            let message = format!("the body is broken off or longer than {BODY_BYTES_MAX} bytes");
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, &message);
        };
        let leader = match tokio::time::timeout(LEADER_WAIT_MAX, self.leader.wait_for(Option::is_some)).await {
            Ok(Ok(leader)) => leader.clone().unwrap_or_default(),
            _ => return refuse(StatusCode::SERVICE_UNAVAILABLE, "no controller leads at this moment; try again"),
        };
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let request = http::Request::builder()
            .method(head.method)
            .uri(format!("{leader}{CONTROLLERS_PATH}{path}"))
            .body(web::full_body(body));
        let mut request = match request {
            Ok(request) => request,
            Err(error) => return refuse(StatusCode::BAD_REQUEST, &ErrorChain(&error).to_string()),
        };
        let passed = |name: &HeaderName| Some((name.clone(), head.headers.get(name)?.clone()));
        *request.headers_mut() = PASSED_HEADERS.iter().filter_map(passed).collect::<HeaderMap>();
        // Not sent again: it may have been carried out.
        match self.client.fetch(request).await {
            Ok(answer) => {
                let mut response = Response::new(Body::from(answer.body().clone()));
                *response.status_mut() = answer.status();
                let kept = [CONTENT_TYPE, RETRY_AFTER].into_iter();
                let kept = kept.filter_map(|name| Some((name.clone(), answer.headers().get(&name)?.clone())));
                response.headers_mut().extend(kept);
                response
            }
            Err(error) => {
                let reason = ErrorChain(&error).to_string();
                let message = format!("the controller did not answer, the change may have been made: {reason}");
                refuse(StatusCode::SERVICE_UNAVAILABLE, &message)
            }
        }
    }
}

fn refuse(status: StatusCode, message: &str) -> Response {
    let mut response = (status, axum::Json(json!({ "message": message }))).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, http::HeaderValue::from_static("1"));
    }
    response
}
