//! An app on a name of its own by HTTPS, in the two commands of docs/https.md: `roadstead up`, `roadstead app run`, and Debian's
//! pebble as the authority.

#[path = "../../services/controller/tests/support/pebble.rs"]
#[allow(dead_code)] // the controller's tests use all of it
mod pebble;
mod support;

use pebble::{Addresses, Dns, Pebble, Vouched};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
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
