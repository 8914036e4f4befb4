//! OCSP stapling, with a responder of our own.

use super::client::{Authority, Client, Connection, certificate, edge, https, seal_key};
use crate::harness::{Edge, Server, eventually};
use axum::Router;
use axum::body::Bytes;
use axum::response::IntoResponse;
use http::StatusCode;
use rcgen::{CustomExtension, SigningKey};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::json;
use sha1::{Digest, Sha1};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// Keeps what is stapled.
#[derive(Debug)]
struct Watching(Arc<WebPkiServerVerifier>, Arc<Mutex<Vec<u8>>>);

impl ServerCertVerifier for Watching {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.1.lock().unwrap() = ocsp_response.to_vec();
        self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// What a new connection is shown with the certificate.
async fn stapled(authority: &Authority, edge: &Edge, name: &str) -> Option<Vec<u8>> {
    let roots = Arc::new(authority.roots());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, identity::provider()).build().unwrap();
    let seen = Arc::<Mutex<Vec<u8>>>::default();
    let builder = ClientConfig::builder_with_provider(identity::provider()).with_safe_default_protocol_versions();
    let builder = builder.unwrap().dangerous();
    let config = builder.with_custom_certificate_verifier(Arc::new(Watching(verifier, seen.clone())));
    let client = Client(Arc::new(config.with_no_client_auth()));
    let Connection(_stream) = client.connect(https(edge), name).await.ok()?;
    let stapled = seen.lock().unwrap().clone();
    Some(stapled)
}

fn put(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..0x80 => vec![tag, length as u8],
        0x80..0x100 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [head, content.to_vec()].concat()
}

/// What is said of certificates.
const GOOD: &[u8] = &[0x80, 0];
const REVOKED: &[u8] = b"\xa1\x11\x18\x0f20240101000000Z";

/// The answer to a request, good for so long.
fn answer(authority: &Authority, request: &[u8], status: &[u8], lifetime: Duration) -> Vec<u8> {
    let time = |at: SystemTime| {
        let at = jiff::Timestamp::try_from(at).unwrap();
        put(0x18, at.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes())
    };
    let now = SystemTime::now();
    // Four sequences are around the name of the certificate.
    let (about, until) = (&request[8..], put(0xa0, &time(now + lifetime)));
    let one = put(0x30, &[about, status, &time(now), &until].concat());
    let responder = put(0xa2, &put(4, &Sha1::digest(authority.key().public_key_raw())));
    let data = put(0x30, &[responder, time(now), put(0x30, &one)].concat());
    let algorithm = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
    let signature = put(3, &[&[0], &authority.key().sign(&data).unwrap()[..]].concat());
    let basic = put(0x30, &[&data[..], algorithm, &signature].concat());
    let kind = b"\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x01";
    let inner = put(0x30, &[&kind[..], &put(4, &basic)].concat());
    put(0x30, &[&[0x0a, 1, 0][..], &put(0xa0, &inner)].concat())
}

struct Responder {
    server: Server,
    /// What it says; nothing: it fails.
    says: Arc<Mutex<Option<&'static [u8]>>>,
    asked: Arc<AtomicUsize>,
}

const HOUR: Duration = Duration::from_secs(3600);

impl Responder {
    async fn start(authority: Arc<Authority>) -> Self {
        let (says, asked) = (Arc::new(Mutex::new(Some(GOOD))), Arc::new(AtomicUsize::new(0)));
        let (said, counted) = (says.clone(), asked.clone());
        let router = Router::new().fallback(move |request: Bytes| async move {
            counted.fetch_add(1, SeqCst);
            let said = *said.lock().unwrap();
            match said {
                Some(status) => answer(&authority, &request, status, HOUR).into_response(),
                None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            }
        });
        Self { server: Server::routing(router).await, says, asked }
    }

    fn says(&self, status: Option<&'static [u8]>) {
        *self.says.lock().unwrap() = status;
    }
}

async fn until_it_stands(edge: &Edge, what: &str) {
    eventually(what, || async {
        edge.status().await["certificates"][0]["ocsp"].as_str()?.contains(what).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_the_authority_says_goes_along_with_a_hosts_certificate() {
    let (edge, authority) = (edge().await, Arc::new(Authority::new()));
    let responder = Responder::start(authority.clone()).await;
    let pair = authority.issue_with(&["a.example"], 7, Vec::new());
    let ocsp = json!({ "Enabled": true, "Period": "1s", "Responders": [responder.server.url()] });
    let settings = json!({ "KeyPair": seal_key().seal_key_pair(&pair).unwrap(), "OCSP": ocsp });
    let host = json!({ "Name": "a.example", "Settings": settings }).to_string();
    edge.store.change(&[("/vulcand/hosts/a.example/host", Some(&host))]).await;
    until_it_stands(&edge, "good until").await;
    let first = stapled(&authority, &edge, "a.example").await.unwrap();
    assert!(!first.is_empty());
    let asked = responder.asked.load(SeqCst);
    eventually("it is asked again", || async { (responder.asked.load(SeqCst) > asked).then_some(()) }).await;

    responder.says(None);
    until_it_stands(&edge, "asked again in vain").await;
    assert!(!stapled(&authority, &edge, "a.example").await.unwrap().is_empty(), "the last one holds");

    responder.says(Some(REVOKED));
    until_it_stands(&edge, "revoked until").await;
    let revoked = stapled(&authority, &edge, "a.example").await.unwrap();
    assert!(revoked.windows(REVOKED.len()).any(|bytes| bytes == REVOKED));
}

#[tokio::test]
async fn a_certificate_that_must_be_stapled_says_whom_to_ask_and_is_shown_without_an_answer_meanwhile() {
    let (edge, authority) = (edge().await, Arc::new(Authority::new()));
    let responder = Responder::start(authority.clone()).await;
    responder.says(None);
    let url = put(0x86, responder.server.url().as_bytes());
    let access = put(0x30, &put(0x30, &[&b"\x06\x08\x2b\x06\x01\x05\x05\x07\x30\x01"[..], &url].concat()));
    let extensions = vec![
        CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access),
        CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], vec![0x30, 3, 2, 1, 5]),
    ];
    let pair = authority.issue_with(&["a.example"], 8, extensions);
    edge.store.change(&[("/roadstead/certificates/a", Some(&certificate(&pair, false)))]).await;
    until_it_stands(&edge, "it answered 503").await;
    assert_eq!(stapled(&authority, &edge, "a.example").await, Some(Vec::new()));
    responder.says(Some(GOOD));
    until_it_stands(&edge, "good until").await;
    assert!(!stapled(&authority, &edge, "a.example").await.unwrap().is_empty());
}

/// Clients refuse an answer that is over; a certificate without one they take.
#[tokio::test]
async fn an_answer_that_has_ended_is_not_shown_while_another_one_is_awaited() {
    let (edge, authority) = (edge().await, Arc::new(Authority::new()));
    let (issuer, asked) = (authority.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = asked.clone();
    // One answer, and then silence.
    let router = Router::new().fallback(move |request: Bytes| async move {
        if counted.fetch_add(1, SeqCst) > 0 {
            std::future::pending::<()>().await;
        }
        answer(&issuer, &request, GOOD, Duration::from_secs(5))
    });
    let responder = Server::routing(router).await;
    let pair = authority.issue_with(&["a.example"], 9, Vec::new());
    let ocsp = json!({ "Enabled": true, "Period": "1s", "Responders": [responder.url()] });
    let settings = json!({ "KeyPair": seal_key().seal_key_pair(&pair).unwrap(), "OCSP": ocsp });
    let host = json!({ "Name": "a.example", "Settings": settings }).to_string();
    edge.store.change(&[("/vulcand/hosts/a.example/host", Some(&host))]).await;
    until_it_stands(&edge, "good until").await;
    eventually("it is asked again", || async { (asked.load(SeqCst) == 2).then_some(()) }).await;
    assert!(!stapled(&authority, &edge, "a.example").await.unwrap().is_empty(), "the last one holds");
    until_it_stands(&edge, "the last one is over").await;
    assert_eq!(stapled(&authority, &edge, "a.example").await, Some(Vec::new()));
    assert_eq!(asked.load(SeqCst), 2, "nobody has answered or given up");
}
