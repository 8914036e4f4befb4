//! Certificates for apps' names, from the label to the handshake: a controller, edges, and Debian's pebble as the authority.

#[path = "support/forgetful.rs"]
mod forgetful;
#[path = "support/pebble.rs"]
mod pebble;

use controller::acme::{Challenge, Settings};
use forgetful::Forgetful;
use http::{Method, Request};
use identity::{SealKey, Verifier};
use lifecycle::{Started, Stop};
use pebble::{Addresses, Dns, Pebble, Vouched};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::meddled::Meddled;
use store::{Embedded, Store};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Any named condition holds within this time.
const DEADLINE: Duration = Duration::from_secs(180);
const LIFETIME_S: u64 = 3600;

/// The authority and the state; controllers and edges come and go.
struct Lab {
    directory: TempDir,
    store: Arc<dyn Store>,
    seal_key: SealKey,
    addresses: Addresses,
    vouched: Vouched,
    dns: Dns,
    challenge: Challenge,
}

struct Controller {
    api: SocketAddr,
    stop: Stop,
    started: Started,
    client: web::Client,
}

struct Edge {
    address: SocketAddr,
    https: SocketAddr,
    stop: Stop,
    started: Started,
}

impl Lab {
    async fn new(names: &[&str], challenge: Challenge) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Embedded::open(directory.path().join("store")).await.unwrap();
        Self {
            directory,
            store: Arc::new(store),
            seal_key: SealKey::generate().unwrap(),
            addresses: Addresses::free(),
            vouched: Vouched::new(),
            dns: Dns::start(names),
            challenge,
        }
    }

    async fn controller(&self) -> Controller {
        let mut config = controller::Config::new(self.store.clone(), Verifier::Open);
        config.seal_key = Some(self.seal_key.clone());
        config.acme = Some(Settings {
            email: Some("admin@shop.example".into()),
            directory: self.addresses.directory_url(),
            ca: Some(self.vouched.ca_pem.clone()),
            challenge: self.challenge,
            external_account: None,
        });
        let stop = Stop::new();
        let started = controller::start(config, stop.clone()).await.unwrap();
        let api = started.address("").unwrap();
        Controller { api, stop, started, client: web::Client::default() }
    }

    async fn edge(&self, controller: &Controller, name: &str) -> Edge {
        self.edge_at(0, vec![format!("http://{}", controller.api)], name).await
    }

    async fn edge_at(&self, port: u16, controllers: Vec<String>, name: &str) -> Edge {
        let config = edge::Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], port))],
            listen_tls: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            api: None,
            store: self.store.clone(),
            controllers,
            data: None,
            token: None,
            tls: None,
            seal_key: Some(self.seal_key.clone()),
            verifier: Verifier::Open,
            edge_id: name.to_owned(),
            node_id: String::new(),
            client_times: edge::ClientTimes::default(),
            vulcand: edge::Vulcand::default(),
            proxies: Vec::new(),
            observation: edge::Observation::default(),
            take_over: false,
            drain: edge::Drain::default(),
        };
        let stop = Stop::new();
        let started = edge::start(config, stop.clone()).await.unwrap();
        let [address, https] = ["", "https"].map(|part| started.address(part).unwrap());
        Edge { address, https, stop, started }
    }

    /// Looks at names where this edge listens.
    async fn authority(&self, edge: &Edge, lifetime_s: u64) -> Pebble {
        let (ports, directory) = ((edge.address.port(), edge.https.port()), self.directory.path());
        let pebble = Pebble::start(directory, &self.vouched, &self.addresses, &self.dns, ports, lifetime_s);
        let (client, url) = (self.client(), self.addresses.directory_url());
        until("the authority answers", async || client.get(&url).await.ok().map(drop)).await;
        pebble
    }

    /// To the authority's own pages.
    fn client(&self) -> web::Client {
        web::Client::default().with_tls(Arc::new(trusting(&self.vouched.ca_pem)))
    }

    async fn value(&self, key: &str) -> Option<Value> {
        let kv = self.store.get(key).await.unwrap()?;
        Some(serde_json::from_slice(&kv.value).unwrap())
    }

    /// The one in the store, when it is there; its key lies there sealed.
    async fn certificate(&self, name: &str) -> Option<Vec<u8>> {
        let document = self.value(&format!("/roadstead/certificates/acme.{name}")).await?;
        assert!(!document.to_string().contains("PRIVATE KEY"));
        let pair = self.seal_key.open_key_pair(document["sealed"].as_str().unwrap()).unwrap();
        Some(CertificateDer::from_pem_slice(&pair.cert).unwrap().to_vec())
    }
}

impl Controller {
    async fn ask(&self, method: Method, path: &str, body: Value) -> Value {
        self.client.send_json(method, &format!("http://{}{path}", self.api), &body).await.unwrap()
    }

    /// An app of no instances with a name of its own.
    async fn run_app(&self, id: &str, host: &str) {
        let app = json!({
            "cmd": "exec sleep 1", "instances": 0, "cpus": 0.1, "mem": 16, "portDefinitions": [{ "port": 0 }],
            "labels": { "roadstead.host": host, "roadstead.https": "acme" },
        });
        self.ask(Method::PUT, &format!("/v2/apps/{id}"), app).await;
    }

    async fn standing(&self, name: &str) -> Value {
        self.client.get_json::<Value>(&format!("http://{}/v1/certificates/{name}", self.api)).await.unwrap()["name"]
            .clone()
    }

    async fn end(self) {
        self.stop.request();
        self.started.finished().await.unwrap();
    }
}

impl Edge {
    async fn end(self) {
        self.stop.request();
        self.started.finished().await.unwrap();
    }
}

async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "timed out: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn trusting(root_pem: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root_pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(identity::provider()).with_safe_default_protocol_versions();
    config.unwrap().with_root_certificates(roots).with_no_client_auth()
}

/// The head of what an edge answers by HTTPS to whoever trusts this root alone, and the certificate it shows.
async fn by_https(address: SocketAddr, root_pem: &str, name: &str) -> io::Result<(String, Vec<u8>)> {
    let connector = TlsConnector::from(Arc::new(trusting(root_pem)));
    let stream = TcpStream::connect(address).await?;
    let mut stream = connector.connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await?;
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    stream.write_all(format!("GET /x HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    // How it closes is no matter of this test.
    let _read = stream.read_to_string(&mut answer).await;
    Ok((answer.lines().next().unwrap_or_default().to_owned(), shown))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_with_the_label_has_a_certificate_that_is_renewed_before_it_ends() {
    let lab = Lab::new(&["shop.example"], Challenge::Http01).await;
    let controller = lab.controller().await;
    let edge = lab.edge(&controller, "one").await;
    let second = lab.edge(&controller, "two").await;
    // Two thirds of it are over soon.
    let authority = lab.authority(&edge, 15).await;
    controller.run_app("shop", "shop.example").await;
    let first = until("a certificate comes", || lab.certificate("shop.example")).await;
    let root = authority.root_pem(&lab.client()).await;
    for edge in [&edge, &second] {
        // An app of no instances: the edge says so itself.
        let served =
            until("every edge shows it", async || by_https(edge.https, &root, "shop.example").await.ok()).await;
        assert_eq!((served.0.as_str(), served.1 == first), ("HTTP/1.1 503 Service Unavailable", true));
    }
    assert!(by_https(edge.https, &root, "other.example").await.is_err());
    let left = lab.store.read_prefix("/roadstead/acme/challenges/", 0).await.unwrap().1;
    assert!(left.is_empty(), "what was answered is forgotten");

    // Plain requests are sent on, and what is no challenge is the app's.
    let plain = |path: &str| {
        let request = Request::get(format!("http://{}{path}", edge.address)).header("host", "shop.example");
        let request = request.body(web::empty_body()).unwrap();
        async move { web::Client::default().fetch(request).await }
    };
    let sent_on = until("the route is there", async || {
        let answer = plain("/x?y=1").await.unwrap();
        (answer.status() == 308).then_some(answer)
    });
    let location = sent_on.await.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(location, "https://shop.example/x?y=1");
    assert_eq!(plain("/.well-known/acme-challenge/unknown").await.unwrap().status(), 308);

    let renewed =
        until("it is renewed", async || lab.certificate("shop.example").await.filter(|renewed| *renewed != first));
    let renewed = renewed.await;
    until("the edges show the new one", async || {
        let (_, shown) = by_https(second.https, &root, "shop.example").await.ok()?;
        (shown == renewed).then_some(())
    })
    .await;
    assert!(!authority.log().contains("There are now 2 accounts"), "{}", authority.log());
    controller.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_leader_goes_on_with_the_order_the_key_and_the_account_of_the_one_that_died() {
    let lab = Lab::new(&["shop.example"], Challenge::Http01).await;
    let first = lab.controller().await;
    // No edge speaks to the first leader: its order waits for one.
    let silent = lab.edge_at(0, Vec::new(), "one").await;
    let authority = lab.authority(&silent, LIFETIME_S).await;
    first.run_app("shop", "shop.example").await;
    let order = "/roadstead/acme/orders/shop.example";
    let begun = until("an order is made", async || {
        let record = lab.value(order).await?;
        record["under_way"]["url"].as_str().map(str::to_owned)
    });
    let begun = begun.await;
    let account = lab.value("/roadstead/acme/account").await.unwrap();
    first.end().await;

    let second = lab.controller().await;
    let port = silent.address.port();
    silent.end().await;
    let edge = lab.edge_at(port, vec![format!("http://{}", second.api)], "one").await;
    let root = authority.root_pem(&lab.client()).await;
    until("the next leader has a certificate", || lab.certificate("shop.example")).await;
    until("it is shown", async || by_https(edge.https, &root, "shop.example").await.ok()).await;
    assert_eq!(lab.value("/roadstead/acme/account").await.unwrap(), account, "the account is the same");
    let log = authority.log();
    assert!(!log.contains("There are now 2 accounts"), "{log}");
    assert!(!log.contains("There are now 2 orders"), "{begun} was gone on with: {log}");
    edge.end().await;
    second.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_known_before_the_authority_hears_of_it() {
    let mut lab = Lab::new(&["shop.example"], Challenge::Http01).await;
    let store = Arc::new(Meddled::new(lab.store.clone(), Forgetful::default()));
    lab.store = store.clone();
    let first = lab.controller().await;
    let edge = lab.edge(&first, "one").await;
    let authority = lab.authority(&edge, LIFETIME_S).await;
    first.run_app("shop", "shop.example").await;
    until("the order is made and its answer is lost", async || store.has_forgotten().then_some(())).await;
    first.end().await;
    let record = lab.value("/roadstead/acme/orders/shop.example").await.expect("the order is known");
    assert!(record["asked_at"].is_string() && record["tried_at"].as_array().unwrap().len() == 1, "{record}");

    store.recover();
    let second = lab.controller().await;
    let port = edge.address.port();
    edge.end().await;
    let _edge = lab.edge_at(port, vec![format!("http://{}", second.api)], "one").await;
    // As soon as it can be: whoever asks must not be the one that makes the next order.
    until("the next leader knows", async || (second.standing("shop.example").await["state"] == "asked").then_some(()))
        .await;
    assert!(!authority.log().contains("There are now 2 orders"), "{}", authority.log());
    second.ask(Method::POST, "/v1/certificates/shop.example/renew", json!({})).await;
    until("asked for again it comes", || lab.certificate("shop.example")).await;
    second.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_shown_to_be_ours_in_the_handshake_where_that_is_asked_for() {
    let lab = Lab::new(&["shop.example"], Challenge::TlsAlpn01).await;
    let controller = lab.controller().await;
    let edge = lab.edge(&controller, "one").await;
    let authority = lab.authority(&edge, LIFETIME_S).await;
    controller.run_app("shop", "shop.example").await;
    until("a certificate comes", async || {
        let standing = controller.standing("shop.example").await;
        assert_ne!(standing["state"], "failed", "{standing}");
        lab.certificate("shop.example").await
    })
    .await;
    let root = authority.root_pem(&lab.client()).await;
    until("it is shown", async || by_https(edge.https, &root, "shop.example").await.ok()).await;
    controller.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_nowhere_says_so_waits_and_is_tried_at_once_when_asked() {
    let lab = Lab::new(&[], Challenge::Http01).await;
    let controller = lab.controller().await;
    let edge = lab.edge(&controller, "one").await;
    let _authority = lab.authority(&edge, LIFETIME_S).await;
    controller.run_app("shop", "shop.example").await;
    let failed = until("the failure is told", async || {
        let standing = controller.standing("shop.example").await;
        (standing["state"] == "failed").then_some(standing)
    });
    let failed = failed.await;
    assert_eq!(failed["failures"], 1);
    assert!(failed["message"].as_str().unwrap().contains("shop.example"), "{failed}");
    assert!(failed["nextAt"].is_string());
    lab.dns.learn("shop.example");
    controller.ask(Method::POST, "/v1/certificates/shop.example/renew", json!({})).await;
    until("it is there", || lab.certificate("shop.example")).await;
    until("and said to be", async || (controller.standing("shop.example").await["state"] == "valid").then_some(()))
        .await;
    controller.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_ones_own_goes_in_and_its_key_never_out() {
    let lab = Lab::new(&[], Challenge::Http01).await;
    let controller = lab.controller().await;
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["own.example".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let given = json!({ "certificate": certificate, "key": key.serialize_pem() });
    let added = controller.ask(Method::PUT, "/v1/certificates", given.clone()).await;
    assert_eq!(added["id"], "given.own.example");
    let all: Value = controller.client.get_json(&format!("http://{}/v1/certificates", controller.api)).await.unwrap();
    assert_eq!(all["certificates"][0]["names"], json!(["own.example"]));
    assert!(!all.to_string().contains("PRIVATE") && !all.to_string().contains("sealed"), "{all}");
    let put = |body: Value| {
        let url = format!("http://{}/v1/certificates", controller.api);
        let client = controller.client.clone();
        async move { client.send_json::<Value>(Method::PUT, &url, &body).await.unwrap_err().to_string() }
    };
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let told = put(json!({ "certificate": certificate, "key": other })).await;
    assert!(told.contains("422") && told.contains("the private key is not the certificate's"), "{told}");
    let told = put(json!({ "certificate": certificate, "key": key.serialize_pem(), "names": ["b.example"] })).await;
    assert!(told.contains("the certificate is not for b.example"), "{told}");
    controller.ask(Method::DELETE, "/v1/certificates/own.example", json!({})).await;
    assert!(lab.store.read_prefix("/roadstead/certificates/", 0).await.unwrap().1.is_empty());
    controller.end().await;
}
