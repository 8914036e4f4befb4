//! An app on a name of its own by HTTPS, in the two commands of docs/https.md: `roadstead up`, `roadstead app run`, and Debian's
//! pebble as the authority. And a certificate of one's own, by `roadstead cert add`.

#[path = "../../services/controller/tests/support/pebble.rs"]
#[allow(dead_code)] // the controller's tests use all of it
mod pebble;
mod support;

use pebble::{Addresses, Dns, Pebble, Vouched};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use support::{BINARY, Up, until};

const NAME: &str = "shop.example";

fn trusting(root_pem: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root_pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(identity::provider()).with_safe_default_protocol_versions();
    Arc::new(config.unwrap().with_root_certificates(roots).with_no_client_auth())
}

/// What is answered to whoever trusts this root alone.
fn by_https(address: SocketAddr, root_pem: &str) -> io::Result<String> {
    let name = ServerName::try_from(NAME).unwrap();
    let connection = ClientConnection::new(trusting(root_pem), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, TcpStream::connect(address)?);
    write!(stream, "GET / HTTP/1.1\r\nhost: {NAME}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    // How it closes is no matter of this test.
    let _read = stream.read_to_string(&mut answer);
    match answer.is_empty() {
        true => Err(io::ErrorKind::UnexpectedEof.into()),
        false => Ok(answer),
    }
}

#[test]
fn an_app_is_served_by_https_under_its_own_name_after_two_commands() {
    let _alone = support::alone();
    let directory = tempfile::Builder::new().prefix("roadstead-https-").tempdir().expect("a temporary directory");
    let (vouched, addresses, dns) = (Vouched::new(), Addresses::free(), Dns::start(&[NAME]));
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, &vouched.ca_pem).unwrap();
    let (ca, acme) = (ca.display().to_string(), addresses.directory_url());
    let up = Up::start(
        &directory.path().join("data"),
        &[
            &["--runtime", "process", "--resources", "cpus:2;mem:2048;ports:[31900-31949]"][..],
            &["--https", "127.0.0.1:0", "--acme-email", "you@shop.example"],
            &["--acme-directory", &acme, "--acme-ca", &ca],
        ]
        .concat(),
    );
    let (plain, https) = (up.address("edge"), up.address("edge_https"));
    let ports = (plain.port(), https.port());
    let authority = Pebble::start(directory.path(), &vouched, &addresses, &dns, ports, 3600);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = web::Client::default().with_tls(trusting(&vouched.ca_pem));
    until("the authority answers", || runtime.block_on(client.get(&acme)).ok());

    let cmd = format!(
        "exec {BINARY} pics -AccessKey=a -SecretKey=b -EndPoint=http://s3.localhost -Namespace=s3 --listen 0.0.0.0:$PORT0"
    );
    up.cli(
        &[
            &["app", "run", "shop", "--cmd", &cmd, "--health", "/", "--cpus", "0.1", "--mem", "32"][..],
            &["--domain", NAME, "--https"],
        ]
        .concat(),
    );
    let certificate = until("a certificate comes", || {
        let known = up.cli_json(&["cert", "ls"]);
        known["certificates"].as_array()?.first().cloned()
    });
    assert_eq!((&certificate["issuer"], &certificate["names"][0]), (&"acme".into(), &NAME.into()), "{certificate}");
    let listed = up.cli(&["cert", "ls"]);
    assert!(listed.lines().any(|line| line.starts_with(NAME) && line.contains("acme")), "{listed}");

    let root = runtime.block_on(authority.root_pem(&client));
    let served = until("it is served under the authority's root", || by_https(https, &root).ok());
    assert!(served.starts_with("HTTP/1.1 200 ") && served.contains("Application running on"), "{served}");
    assert!(by_https(https, &vouched.ca_pem).is_err(), "another root vouches for nothing");
    let (status, _) = up.visit(NAME, "/").expect("the edge answers");
    assert_eq!(status, 308, "plain requests are sent on");
    up.cli(&["app", "remove", "shop"]);
}

/// An authority that has no answer to a question about a certificate now, and counts questions.
struct Responder {
    url: String,
    asked: Arc<AtomicUsize>,
}

impl Responder {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/ocsp", listener.local_addr().unwrap());
        let counted = Arc::<AtomicUsize>::default();
        let responder = Self { url, asked: counted.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).unwrap_or(0) == 0 {
                        break;
                    }
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).to_lowercase();
                if head.starts_with("post /ocsp ") && head.contains("content-type: application/ocsp-request") {
                    counted.fetch_add(1, SeqCst);
                }
                // `tryLater`: the whole of such a response (RFC 6960 §4.2.1).
                let _left = stream.write_all(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n\x30\x03\x0a\x01\x03",
                );
            }
        });
        responder
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }
}

/// A certificate that names its responder, with the authority's behind it, and its key; both in PEM form.
fn issued(name: &str, responder: &str) -> (String, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    // `authorityInfoAccess` with one `id-ad-ocsp` (RFC 5280 §4.2.2.1).
    let der = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
    let method = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01];
    let description = der(0x30, &[&method[..], &der(0x86, responder.as_bytes())].concat());
    let access = CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], der(0x30, &description));
    let (key, mut params) = (KeyPair::generate().unwrap(), CertificateParams::new(vec![name.to_owned()]).unwrap());
    params.custom_extensions = vec![access];
    let certificate = params.signed_by(&key, &authority).unwrap();
    (certificate.pem() + &authority.pem(), key.serialize_pem())
}

#[test]
fn a_certificate_is_stapled_if_whoever_adds_it_asks_for_that() {
    let _alone = support::alone();
    let directory = tempfile::Builder::new().prefix("roadstead-cert-").tempdir().expect("a temporary directory");
    let file = |name: &str| directory.path().join(name).display().to_string();
    let resources = "cpus:1;mem:256;ports:[31970-31979]";
    let arguments = ["--runtime", "process", "--resources", resources, "--https", "127.0.0.1:0"];
    let up = Up::start(&directory.path().join("data"), &arguments);
    let (runtime, url) = (tokio::runtime::Runtime::new().unwrap(), format!("http://{}/status", up.address("edge_api")));
    let client = web::Client::new(web::Credentials::Bearer(up.token.clone()));
    let responders = [Responder::start(), Responder::start()];
    let standing = |name: &str| {
        let status = runtime.block_on(client.get_json::<serde_json::Value>(&url)).ok()?;
        let certificates = status["certificates"].as_array()?;
        certificates.iter().find(|one| one["names"][0] == name).map(|one| one["ocsp"].clone())
    };
    // The second time with the flag: what the edge asks then, it would have asked before.
    for (name, responder, flags) in [("plain.example", &responders[0], &[][..]), (NAME, &responders[1], &["--ocsp"])] {
        let (certificate, key) = issued(name, &responder.url);
        std::fs::write(file("cert.pem"), certificate).unwrap();
        std::fs::write(file("key.pem"), key).unwrap();
        let added = up.cli(&[&["cert", "add", "--cert", &file("cert.pem"), "--key", &file("key.pem")], flags].concat());
        assert!(added.contains(name), "{added}");
        until("the edge has it", || standing(name));
    }
    let said = until("the authority was asked and heard", || {
        standing(NAME)?.as_str().filter(|said| said.contains("try again later")).map(str::to_owned)
    });
    assert!(said.contains(&responders[1].url) && responders[1].asked() > 0, "{said}");
    assert_eq!((standing("plain.example"), responders[0].asked()), (Some(serde_json::Value::Null), 0));
}
