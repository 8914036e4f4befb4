//! A body much larger than any buffer passes in bounded memory, in and out. A process of its own, because it looks at the
//! most memory the process ever had.

#[path = "support/store.rs"]
#[expect(dead_code, reason = "shared with face.rs, which needs more of it")]
mod store;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use md5::{Digest, Md5};
use s3sign::v4::PayloadToSign;
use store::{ACCESS_KEY, Store};

const BODY_BYTES: usize = 192 << 20;
const PIECE_BYTES: usize = 64 << 10;
/// One upload's buffers are 0.6 MiB; the rest is what the allocator, the client and the threads of the runtime take.
const GROWTH_BYTES_MAX: usize = 32 << 20;

fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

fn piece(index: usize) -> Bytes {
    let mut piece = vec![index as u8; PIECE_BYTES];
    piece[..8].copy_from_slice(&index.to_le_bytes());
    piece.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_larger_than_memory_allows_passes_in_bounded_memory() {
    let store = Store::start().await;
    store.call(Method::PUT, "/bucket1", &[], "").await;
    let before = peak_bytes();
    let mut expected = Md5::new();
    (0..BODY_BYTES / PIECE_BYTES).for_each(|index| expected.update(piece(index)));
    let expected = format!("\"{}\"", hex::encode(expected.finalize()));
    let length = BODY_BYTES.to_string();
    let headers = [("content-length", length.as_str())];
    let request = store.signed(ACCESS_KEY, Method::PUT, "/bucket1/large", &headers, PayloadToSign::Unsigned);
    let pieces = (0..BODY_BYTES / PIECE_BYTES).map(|index| Ok::<_, lifecycle::BoxError>(Frame::data(piece(index))));
    let body = StreamBody::new(futures::stream::iter(pieces)).boxed();
    let answer = store.client.fetch(request.body(body).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200, "{:?}", answer.body());
    assert_eq!(answer.headers()["etag"], expected.as_str());
    let request = store.signed(ACCESS_KEY, Method::GET, "/bucket1/large", &[], PayloadToSign::Unsigned);
    let request: Request<web::Body> = request.body(web::empty_body()).unwrap();
    let mut body = store.client.send(request).await.unwrap().into_body();
    let mut read = Md5::new();
    while let Some(frame) = body.frame().await {
        read.update(frame.unwrap().into_data().unwrap());
    }
    assert_eq!(format!("\"{}\"", hex::encode(read.finalize())), expected);
    let growth = peak_bytes() - before;
    assert!(growth < GROWTH_BYTES_MAX, "memory grew by {growth} bytes for a body of {BODY_BYTES}");
}
