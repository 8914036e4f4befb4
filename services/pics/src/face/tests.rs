use super::*;
use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt;
use tower::ServiceExt;

fn face() -> Router {
    let config = Config {
        listen: ([127, 0, 0, 1], 0).into(),
        endpoint: "http://s3.localhost:8181".parse().unwrap(),
        credentials: s3sign::Credentials::new("denis@ad.forest", "a-secret").unwrap(),
        buckets: vec!["bucket1".parse().unwrap()],
        signature: crate::SignatureVersion::V4,
    };
    router(&config, "74f32a25d7ad".into())
}

async fn call(request: Request<Body>) -> (StatusCode, HeaderMap, String) {
    let (head, body) = face().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
}

async fn get(path: &str) -> (StatusCode, HeaderMap, String) {
    call(Request::builder().uri(path).body(Body::empty()).unwrap()).await
}

async fn sign(body: impl ToString) -> (u16, serde_json::Value) {
    let request = Request::builder().method(Method::POST).uri("/sign").header(CONTENT_TYPE, "application/json");
    let (status, _, body) = call(request.body(Body::from(body.to_string())).unwrap()).await;
    (status.as_u16(), serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn the_root_is_the_page_and_the_health_check() {
    let (status, headers, body) = get("/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("74f32a25d7ad"));
    assert!(headers[CONTENT_SECURITY_POLICY].to_str().unwrap().contains("http://bucket1.s3.localhost:8181"));
    assert_eq!(headers[CACHE_CONTROL], "no-store", "a kept page would show another instance's host name");
}

#[tokio::test]
async fn the_pages_assets_are_served() {
    for (path, content_type) in [("/assets/pics.js", "text/javascript"), ("/assets/pics.css", "text/css")] {
        let (status, headers, _) = get(path).await;
        assert_eq!(status, StatusCode::OK);
        assert!(headers[CONTENT_TYPE].to_str().unwrap().starts_with(content_type));
        assert!(get("/").await.2.contains(path), "the page names {path}");
    }
}

#[tokio::test]
async fn a_signature_is_handed_out_as_json() {
    let put = serde_json::json!({"operation": "put", "bucket": "bucket1", "content_type": "image/png", "size": 10});
    let (status, signed) = sign(put).await;
    assert_eq!(status, 200);
    assert_eq!(signed["method"], "PUT");
    let key = signed["key"].as_str().unwrap();
    assert_eq!(signed["url"], format!("http://bucket1.s3.localhost:8181/{key}"));
    assert!(signed["headers"]["authorization"].is_string());
    assert!(!signed.to_string().contains("a-secret"));
}

#[tokio::test]
async fn refusals_are_json_and_name_the_field() {
    let put = |bucket: &str, content_type: &str, size: u64| serde_json::json!({"operation": "put", "bucket": bucket, "content_type": content_type, "size": size});
    let refused =
        |status: u16, field: &str, message: &str| (status, serde_json::json!({"field": field, "message": message}));
    assert_eq!(
        sign(put("other", "image/png", 1)).await,
        refused(404, "bucket", "bucket \"other\" is not one of this application's")
    );
    assert_eq!(
        sign(put("bucket1", "image/png", 6 << 20)).await,
        refused(413, "size", "size 6291456 is not between 1 and 5242880 bytes")
    );
    assert_eq!(sign(put("bucket1", "image/svg+xml", 1)).await.0, 415);
    let get = serde_json::json!({"operation": "get", "bucket": "bucket1", "key": "secret/file"});
    let (status, refusal) = sign(get).await;
    assert_eq!((status, &refusal["field"]), (422, &serde_json::json!("key")));
}

#[tokio::test]
async fn what_is_no_operation_is_refused() {
    for body in [
        "{",
        "{}",
        r#"{"operation":"delete_bucket","bucket":"bucket1"}"#,
        r#"{"operation":"list","bucket":"bucket1","prefix":"x"}"#,
    ] {
        let (status, refusal) = sign(body).await;
        assert!((400..500).contains(&status), "{body}: {status}");
        assert!(refusal["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    }
    let (status, _) = sign("x".repeat(SIGN_BODY_BYTES_MAX + 1)).await;
    assert_eq!(status, 413);
}
