//! The same over TLS and HTTP/2, where certificates change, too.

use crate::harness::{DEADLINE, eventually};
use crate::tls::{Authority, Client, certificate, edge, https, parts, shown};
use crate::{MEASURING, Numbers, SERVERS, next, server, size};
use bytes::Bytes;
use identity::KeyPair;
use rustls::ClientConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use tokio::time::timeout;

const CHANGES: usize = 1000;
/// Each with a certificate of its own.
const HOSTS: usize = 10;
const CONNECTIONS: usize = 20;
/// Requests of one connection; then a client makes another one, with a handshake.
const REQUESTS_OF_CONNECTION: usize = 40;
/// Of these at once.
const STREAMS: usize = 4;

fn host(number: usize) -> String {
    format!("h{}.example", number % HOSTS)
}

/// One that speaks HTTP/2 and resumes no session: each handshake looks at a certificate.
fn client(authority: &Authority) -> Client {
    let mut config = ClientConfig::clone(&authority.client().0);
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Client(Arc::new(config))
}

/// Asks until it is over, connection after connection; what went wrong, if anything did.
async fn ask(
    client: Client,
    address: SocketAddr,
    first: usize,
    over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
) -> Result<(), String> {
    for number in first.. {
        let stream = client.connect(address, &host(number)).await.map_err(|error| format!("handshake: {error}"))?;
        let (sender, connection) = h2::client::handshake(stream.0).await.map_err(|error| error.to_string())?;
        let connection = tokio::spawn(connection);
        for round in 0..REQUESTS_OF_CONNECTION / STREAMS {
            if over.load(SeqCst) {
                return Ok(());
            }
            let asked = (0..STREAMS).map(|more| get(&sender, host(number + round + more)));
            let answers = timeout(DEADLINE, futures::future::try_join_all(asked)).await;
            answers.map_err(|_| "no answer".to_owned())??;
            answered.fetch_add(STREAMS, SeqCst);
        }
        drop(sender);
        let ended = timeout(DEADLINE, connection).await.map_err(|_| "no end".to_owned())?;
        ended.unwrap().map_err(|error| format!("the connection: {error}"))?;
    }
    Ok(())
}

async fn get(sender: &h2::client::SendRequest<Bytes>, host: String) -> Result<(), String> {
    let asking = async {
        let mut sender = sender.clone().ready().await?;
        let request = http::Request::get(format!("https://{host}/")).body(()).unwrap();
        let response = sender.send_request(request, true)?.0.await?;
        let (parts, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        while let Some(data) = body.data().await {
            bytes.extend_from_slice(&data?);
        }
        Ok::<_, h2::Error>((parts.status, bytes))
    };
    match asking.await.map_err(|error| format!("{host}: {error}"))? {
        (http::StatusCode::OK, bytes) if bytes == b"ok" => Ok(()),
        (status, bytes) => Err(format!("{host}: {status} {:?}", String::from_utf8_lossy(&bytes))),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_routes_and_certificates_cost_no_request_over_tls_and_http2() {
    let _alone = MEASURING.lock().await;
    let changes = size("ROADSTEAD_SECURE_CHANGES", CHANGES);
    let (edge, authority, mut numbers) = (edge().await, Authority::new(), Numbers(2));
    let mut servers = Vec::new();
    for _ in 0..SERVERS {
        servers.push(server().await);
    }
    let route_key = |name: &str| format!("/roadstead/routes/{name}");
    let certificate_key = |name: &str| format!("/roadstead/certificates/{name}");
    let mut pairs: Vec<KeyPair> = Vec::new();
    for number in 0..HOSTS {
        let name = host(number);
        pairs.push(authority.issue(&[&name]));
        let (route, pair) = (next(&mut numbers, &name, &servers), certificate(&pairs[number], false));
        edge.store.change(&[(&route_key(&name), Some(&route)), (&certificate_key(&name), Some(&pair))]).await;
    }
    edge.applied(edge.store.revision()).await;
    let (client, address) = (client(&authority), https(&edge));
    let is_shown = async |number: usize, pair: &KeyPair| {
        eventually("the certificate is shown", || async {
            (shown(&client, address, &host(number)).await.as_ref() == parts(pair).0.first()).then_some(())
        })
        .await;
    };
    for (number, pair) in pairs.iter().enumerate() {
        is_shown(number, pair).await;
    }
    let (over, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let asking = |first| tokio::spawn(ask(client.clone(), address, first, over.clone(), answered.clone()));
    let clients: Vec<_> = (0..CONNECTIONS).map(asking).collect();

    let mut has_guest = false;
    for change in 0..changes {
        let number = numbers.below(HOSTS);
        let name = host(number);
        match numbers.below(8) {
            0 | 1 => {
                pairs[number] = authority.issue(&[&name]);
                let document = certificate(&pairs[number], false);
                edge.store.change(&[(&certificate_key(&name), Some(&document))]).await;
            }
            // One of a name that nobody asks for comes and goes.
            2 => {
                has_guest = !has_guest;
                let document = has_guest.then(|| authority.document(&["guest.example"], numbers.below(2) == 0));
                edge.store.change(&[(&certificate_key("guest"), document.as_deref())]).await;
            }
            // What cannot be read is not shown; the last good one is.
            3 => {
                edge.store.change(&[(&certificate_key(&name), Some("{"))]).await;
            }
            _ => {
                let document = next(&mut numbers, &name, &servers);
                edge.store.change(&[(&route_key(&name), Some(&document))]).await;
            }
        }
        if change % 20 == 0 {
            edge.applied(edge.store.revision()).await;
        }
    }
    edge.applied(edge.store.revision()).await;
    over.store(true, SeqCst);
    for client in clients {
        client.await.unwrap().expect("no request fails");
    }
    assert!(answered.load(SeqCst) >= changes / 2, "there was load: {answered:?} requests");
    println!("{changes} changes, {answered:?} requests");
    // What is right in the end is shown.
    for (number, pair) in pairs.iter().enumerate() {
        edge.store.change(&[(&certificate_key(&host(number)), Some(&certificate(pair, false)))]).await;
    }
    for (number, pair) in pairs.iter().enumerate() {
        is_shown(number, pair).await;
    }
}
