//! vulcand's API under a path of its own, since Marathon's has `/v2/`, too.

use crate::proxy::NOT_LEADING;
use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use http::Uri;
use http::header::HeaderValue;
use http::uri::PathAndQuery;
use store::Compare;
use tower::ServiceExt;

const PREFIX: &str = "/vulcand";

/// What is about the process that is asked, and not about the cluster.
const OWN_PATH: &str = "/vulcand/v2/log/";

pub fn is_for_process(uri: &Uri) -> bool {
    uri.path().starts_with(OWN_PATH)
}

pub fn is_for_it(uri: &Uri) -> bool {
    uri.path().strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with('/'))
}

/// By a router of vulcand's API.
pub async fn answer(router: Router, mut request: Request) -> Response {
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    let inner = path.strip_prefix(PREFIX).unwrap_or(path).parse::<Uri>();
    if let Ok(inner) = inner {
        *request.uri_mut() = inner;
    }
    let mut response = router.oneshot(request).await.unwrap_or_else(|never| match never {});
    // The fence does not hold: nothing was written, and a controller that passed this on may ask the one that leads.
    if response.extensions().get::<Compare>().is_some() {
        response.headers_mut().insert(NOT_LEADING, HeaderValue::from_static("1"));
    }
    response
}
