//! A picture that cannot be compressed, uploaded as the app's page does it: each request signed by the app, each byte
//! sent to object storage.

use super::Mutant;
use super::stage::{APP_HOST, BUCKET, Stage};
use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Bytes of the picture: three parts, the last one short.
pub const PICTURE_BYTES: usize = 12 << 20;
/// What the page's script cuts a picture into.
const PART_BYTES: usize = 5 << 20;
/// What the mutant sends to the app.
const MUTANT_BYTES: usize = 64 * MUTANT_PIECE_BYTES;
const MUTANT_PIECE_BYTES: usize = 4000;

/// Random bytes behind a PNG signature.
pub fn draw() -> anyhow::Result<Bytes> {
    let mut picture = vec![0; PICTURE_BYTES];
    getrandom::fill(&mut picture).context("draw random bytes")?;
    picture[..8].copy_from_slice(b"\x89PNG\r\n\x1a\n");
    Ok(picture.into())
}

/// Uploads in parts and reads the picture back by its presigned URL.
pub async fn upload(stage: &Stage, picture: Bytes, mutant: Option<Mutant>) -> anyhow::Result<()> {
    if mutant == Some(Mutant::UploadThroughApp) {
        through_app(stage, &picture).await?;
    }
    let create = json!({ "operation": "create_multipart", "bucket": BUCKET, "content_type": "image/png", "size": picture.len() });
    let signed = sign(stage, &create).await?;
    let key = signed["key"].as_str().context("the app names the picture's key")?.to_owned();
    let answer = send(stage, &signed, Bytes::new(), StatusCode::OK).await?;
    let upload_id = element(&answer.body, "UploadId").context("storage names the upload")?;

    let mut completed = String::new();
    for (index, start) in (0..picture.len()).step_by(PART_BYTES).enumerate() {
        let bytes = picture.slice(start..picture.len().min(start + PART_BYTES));
        let part = index + 1;
        let operation = json!({ "operation": "upload_part", "bucket": BUCKET, "key": key, "upload_id": upload_id, "part": part, "size": bytes.len() });
        let answer = send(stage, &sign(stage, &operation).await?, bytes, StatusCode::OK).await?;
        let etag = answer.etag.context("storage answers a part with its ETag")?;
        completed.push_str(&format!("<Part><PartNumber>{part}</PartNumber><ETag>{etag}</ETag></Part>"));
    }
    let complete = json!({ "operation": "complete", "bucket": BUCKET, "key": key, "upload_id": upload_id });
    let body = format!("<CompleteMultipartUpload>{completed}</CompleteMultipartUpload>");
    let answer = send(stage, &sign(stage, &complete).await?, body.into(), StatusCode::OK).await?;
    ensure!(element(&answer.body, "ETag").is_some(), "storage did not complete the upload");

    let signed = sign(stage, &json!({ "operation": "get", "bucket": BUCKET, "key": key })).await?;
    let answer = send(stage, &signed, Bytes::new(), StatusCode::OK).await?;
    ensure!(Sha256::digest(&answer.body) == Sha256::digest(&picture), "the picture came back with other bytes");
    Ok(())
}

/// The mutant: a part of the picture goes to the app, in pieces small enough for it to read before it refuses them.
async fn through_app(stage: &Stage, picture: &Bytes) -> anyhow::Result<()> {
    for start in (0..MUTANT_BYTES).step_by(MUTANT_PIECE_BYTES) {
        let piece = picture.slice(start..start + MUTANT_PIECE_BYTES);
        let request = Request::post("/sign").header(header::CONTENT_TYPE, "application/json");
        let response = stage.visit(APP_HOST, request.body(web::full_body(piece))?).await?;
        ensure!(response.status().is_client_error(), "the app took a piece of a picture: {}", response.status());
    }
    Ok(())
}

async fn sign(stage: &Stage, operation: &Value) -> anyhow::Result<Value> {
    let request = Request::post("/sign").header(header::CONTENT_TYPE, "application/json");
    let response = stage.visit(APP_HOST, request.body(web::full_body(serde_json::to_vec(operation)?))?).await?;
    let text = String::from_utf8_lossy(response.body());
    ensure!(response.status() == StatusCode::OK, "the app does not sign: {}: {text}", response.status());
    serde_json::from_str(&text).context("the app signs in JSON")
}

struct Answer {
    etag: Option<String>,
    body: Bytes,
}

/// Sends a signed request to the host its URL names, by way of the edge.
async fn send(stage: &Stage, signed: &Value, body: Bytes, expected: StatusCode) -> anyhow::Result<Answer> {
    let uri: http::Uri = signed["url"].as_str().context("a signed request has a URL")?.parse()?;
    let host = uri.authority().context("a signed URL has a host")?.as_str().to_owned();
    let method: Method = signed["method"].as_str().context("a signed request has a method")?.parse()?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let mut request = Request::builder().method(&method).uri(&path);
    for (name, value) in signed["headers"].as_object().into_iter().flatten() {
        request = request.header(name, value.as_str().unwrap_or_default());
    }
    let response = stage.visit(&host, request.body(web::full_body(body))?).await?;
    let (head, body) = response.into_parts();
    ensure!(head.status == expected, "{method} {path} answered {}: {}", head.status, String::from_utf8_lossy(&body));
    let etag = head.headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
    Ok(Answer { etag, body })
}

/// The text of the first element of this name.
fn element(xml: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(xml).ok()?;
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once("</").map(|(value, _)| value.to_owned())
}
