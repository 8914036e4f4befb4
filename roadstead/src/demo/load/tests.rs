//! The load against servers that answer one thing only.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[test]
fn the_instance_is_read_from_the_page() {
    assert_eq!(host_name("<h1>Application running on 74f32a25d7ad</h1>").as_deref(), Some("74f32a25d7ad"));
    assert_eq!(host_name("Application running on <b id=x>a-1</b>").as_deref(), Some("a-1"));
    assert_eq!(host_name("something else"), None);
}

/// A server that answers `status` to every request.
async fn server(status: &'static str) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4096];
                while stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 25\r\n\r\nApplication running on a1");
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

async fn tally_after(status: &'static str, requests: u64) -> Tally {
    let load = Load::start(server(status).await, "app.localhost".into(), Duration::from_secs(10));
    let enough = async {
        while load.tally().requests < requests {
            tokio::time::sleep(INTERVAL).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), enough).await.expect("requests leave on schedule");
    load.end().await
}

#[tokio::test]
async fn answers_are_counted_and_instances_named() {
    let tally = tally_after("200 OK", 64).await;
    assert_eq!((tally.failed, tally.host_names.len()), (0, 1), "{:?}", tally.failures);
}

#[tokio::test]
async fn anything_but_200_is_a_failure() {
    let tally = tally_after("503 Service Unavailable", 32).await;
    assert_eq!(tally.failed, tally.requests);
}
