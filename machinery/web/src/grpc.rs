//! gRPC and HTTP on one port: a request's content type decides who answers it.

use axum::Router;
use axum::extract::Request;
use http::Version;
use http::header::CONTENT_TYPE;
use tower::ServiceExt;

/// `application/grpc` over HTTP/2 goes to `grpc`, everything else to `http`.
pub fn grpc_or(grpc: Router, http: Router) -> Router {
    Router::new().fallback(move |request: Request| {
        let chosen = if is_grpc(&request) { grpc.clone() } else { http.clone() };
        chosen.oneshot(request)
    })
}

/// A browser cannot speak HTTP/2 without TLS, so no web page reaches the gRPC services.
fn is_grpc(request: &Request) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE);
    request.version() == Version::HTTP_2
        && content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn only_grpc_over_http2_reaches_the_grpc_services() {
        let face = grpc_or(Router::new().fallback(async || "grpc"), Router::new().fallback(async || "http"));
        let answer = async |version, content_type| {
            let request = Request::post("/a.B/C").version(version).header(CONTENT_TYPE, content_type);
            let response = face.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            response.into_body().collect().await.unwrap().to_bytes()
        };
        assert_eq!(answer(Version::HTTP_2, "application/grpc").await, "grpc");
        assert_eq!(answer(Version::HTTP_2, "application/grpc+proto").await, "grpc");
        assert_eq!(answer(Version::HTTP_2, "application/json").await, "http");
        assert_eq!(answer(Version::HTTP_11, "application/grpc").await, "http", "a web page can send this");
    }
}
