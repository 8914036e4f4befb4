//! The page against a storage that fails: requests are repeated a bounded number of times, and what is given up is
//! cleaned up.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{Method, StatusCode};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use story::pics_page::upload;
use story::picture::random_png;
use story::webdriver::{Browser, DriverError};

/// The page's own limit.
const ATTEMPTS: usize = 4;
/// A picture of three parts.
const SIDE: u32 = 2048;

/// Which requests of a part fail, by how many of that part came before.
type Fails = fn(part: &str, before: usize) -> bool;

/// A storage that forgets everything; it writes down what it is asked.
struct Storage {
    fails: Fails,
    /// `METHOD ?query`, preflights left out.
    asked: Mutex<Vec<String>>,
}

async fn answer(State(storage): State<Arc<Storage>>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let method = request.method().clone();
    // The whole body is taken, or the browser would see a broken connection rather than the answer.
    let _bytes = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
    let line = format!("{method} ?{query}");
    let before = {
        let mut asked = storage.asked.lock().unwrap();
        let before = asked.iter().filter(|earlier| **earlier == line).count();
        if method != Method::OPTIONS {
            asked.push(line);
        }
        before
    };
    let part = query.split('&').find_map(|pair| pair.strip_prefix("partNumber=")).unwrap_or_default();
    let (status, body) = if !part.is_empty() && method == Method::PUT && (storage.fails)(part, before) {
        (StatusCode::SERVICE_UNAVAILABLE, "<Error><Code>SlowDown</Code><Message>Please wait.</Message></Error>")
    } else if query == "uploads" {
        (StatusCode::OK, "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>")
    } else if query.starts_with("list-type") {
        (StatusCode::OK, "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
    } else {
        (StatusCode::OK, "")
    };
    Response::builder()
        .status(status)
        .header("access-control-allow-origin", "*")
        .header("access-control-allow-methods", "GET, PUT, POST, DELETE")
        .header("access-control-allow-headers", "authorization, content-type, x-amz-date, x-amz-content-sha256")
        .header("access-control-expose-headers", "etag")
        .header("etag", "\"e\"")
        .body(Body::from(body))
        .unwrap()
}

/// Uploads a picture of three parts; its key, or what the page says instead, and what the storage was asked.
async fn upload_to(fails: Fails) -> (Result<String, DriverError>, Vec<String>) {
    let stop = lifecycle::Stop::new();
    let storage = Arc::new(Storage { fails, asked: Mutex::default() });
    let router = Router::new().fallback(answer).with_state(storage.clone());
    let listener = web::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let endpoint = format!("-EndPoint=http://s3.localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(web::serve(listener, router, web::Bounds::default(), stop.child()));
    let flags = ["-AccessKey=a", "-SecretKey=s", &endpoint, "-listen=127.0.0.1:0"];
    let started = pics::start(pics::Flags::parse(flags).unwrap().into(), stop.child()).await.unwrap();
    let page_url = format!("http://s3pics.localhost:{}/", started.address("").unwrap().port());
    tokio::spawn(started.finished());
    let directory = tempfile::tempdir().unwrap();
    let file: PathBuf = directory.path().join("large.png");
    std::fs::write(&file, random_png(SIDE, SIDE)).unwrap();
    let browser = Browser::start().await.unwrap();
    let outcome = upload(&browser, &page_url, "bucket1", &file).await;
    stop.request();
    let asked = storage.asked.lock().unwrap().clone();
    (outcome, asked)
}

fn count(asked: &[String], line: &str) -> usize {
    asked.iter().filter(|asked| *asked == line).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_fails_is_sent_again() {
    let (outcome, asked) = upload_to(|part, before| part == "2" && before < 2).await;
    assert!(outcome.unwrap().starts_with("pictures/"));
    assert_eq!(count(&asked, "PUT ?partNumber=1&uploadId=u1"), 1, "{asked:#?}");
    assert_eq!(count(&asked, "PUT ?partNumber=2&uploadId=u1"), 3, "{asked:#?}");
    assert_eq!(count(&asked, "POST ?uploadId=u1"), 1, "completed: {asked:#?}");
    assert_eq!(count(&asked, "DELETE ?uploadId=u1"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_keeps_failing_is_given_up_and_removed() {
    let (outcome, asked) = upload_to(|part, _| part == "2").await;
    let error = outcome.unwrap_err();
    assert!(error.to_string().contains("Upload failed: SlowDown: Please wait."), "{error}");
    assert_eq!(count(&asked, "PUT ?partNumber=2&uploadId=u1"), ATTEMPTS, "{asked:#?}");
    assert_eq!(count(&asked, "POST ?uploadId=u1"), 0, "not completed: {asked:#?}");
    assert_eq!(asked.last().map(String::as_str), Some("DELETE ?uploadId=u1"), "no part comes after the abort");
}
