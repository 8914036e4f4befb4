//! A cluster's authority with the certificates it signed, and faces that say who they think calls.

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use identity::{
    Ca, Caller, CertificateFiles, ClientCertificates, Gate, Issued, Peer, Role, Subject, Tls, Token, Validity, Verifier,
};
use lifecycle::{ErrorChain, Stop};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use web::Client;

/// Every wait of these tests ends by then.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub struct Cluster {
    pub ca: Ca,
    directory: TempDir,
}

/// A face behind a gate: `/` answers whom the gate let in, as `NODE/ROLE` or, by token, `ROLE`.
pub struct Face {
    pub address: SocketAddr,
    pub stop: Stop,
    pub served: JoinHandle<()>,
}

impl Cluster {
    pub fn new(name: &str) -> Self {
        Self { ca: Ca::create(name).unwrap(), directory: tempfile::tempdir().unwrap() }
    }

    /// Installs a certificate; its directory is the node's `identity`.
    pub fn certify(&self, role: Role, node: &str, validity: Validity) -> CertificateFiles {
        let files = CertificateFiles::of(&self.identity_dir(node), role);
        let request = identity::Request::generate().unwrap();
        let subject = Subject { role, node: node.to_owned(), addresses: Vec::new() };
        let certificate = self.ca.sign_for(&request.csr_pem, &subject, validity).unwrap();
        files.install(self.ca.certificate_pem(), &certificate, &request.key_pem).unwrap();
        files
    }

    pub fn tls(&self, role: Role, node: &str) -> Tls {
        self.tls_within(role, node, good_today())
    }

    pub fn tls_within(&self, role: Role, node: &str, validity: Validity) -> Tls {
        self.certify(role, node, validity);
        Tls::open(&self.identity_dir(node), role).unwrap()
    }

    /// Signs a list of the certificates there are now, and installs it where `at` has its own.
    pub fn revoke(&self, at: &Tls, certificates: &[&CertificateFiles]) {
        let issued =
            |files: &&CertificateFiles| Issued::of_pem(&std::fs::read_to_string(&files.certificate).unwrap()).unwrap();
        let issued: Vec<Issued> = certificates.iter().map(issued).collect();
        assert!(at.install_revoked(&self.ca.revoke(&issued, 1, SystemTime::now()).unwrap()).unwrap());
    }

    pub fn identity_dir(&self, node: &str) -> PathBuf {
        self.directory.path().join(node).join("identity")
    }
}

impl Face {
    pub async fn start(tls: &Tls, clients: ClientCertificates) -> Self {
        Self::with(tls, clients, Verifier::Tokens(Vec::new()), "127.0.0.1:0").await
    }

    pub async fn with(tls: &Tls, clients: ClientCertificates, verifier: Verifier, listen: &str) -> Self {
        let gate = Gate::new(verifier, "test", |_, _, _| true);
        let router = Router::new().route("/", get(name_caller)).layer(gate.layer());
        Self::serving(tls, clients, router, listen).await
    }

    pub async fn serving(tls: &Tls, clients: ClientCertificates, router: Router, listen: &str) -> Self {
        Self::bounded(tls, clients, router, listen, web::Bounds::default()).await
    }

    pub async fn bounded(
        tls: &Tls,
        clients: ClientCertificates,
        router: Router,
        listen: &str,
        bounds: web::Bounds,
    ) -> Self {
        let listener = TcpListener::bind(listen).await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), Stop::new());
        let serve = web::serve_tls(listener, router, bounds, tls.server(clients), stop.clone());
        Self { address, stop, served: tokio::spawn(serve) }
    }

    pub fn url(&self) -> String {
        format!("https://{}/", self.address)
    }
}

async fn name_caller(request: Request) -> String {
    let extensions = request.extensions();
    match (extensions.get::<Peer>(), extensions.get::<Caller>()) {
        (Some(peer), Some(caller)) if peer.role == caller.0 => peer.to_string(),
        (None, Some(caller)) => caller.0.to_string(),
        other => format!("the gate let in {other:?}"),
    }
}

pub fn good_today() -> Validity {
    Validity::lasting(SystemTime::now(), Duration::from_secs(3600))
}

/// What `client` is told, or every word of why it was told nothing.
pub async fn ask(client: &Client, url: &str) -> Result<String, String> {
    match tokio::time::timeout(DEADLINE, client.get(url)).await.expect("an answer or an error in time") {
        Ok(answer) if answer.status().is_success() => Ok(String::from_utf8(answer.body().to_vec()).unwrap()),
        Ok(answer) => Err(format!("{} {}", answer.status(), String::from_utf8_lossy(answer.body()))),
        Err(error) => Err(ErrorChain(&error).to_string()),
    }
}

/// A client that shows `tls`'s certificate to servers of the role `expects`.
pub fn client(tls: &Tls, expects: Role) -> Client {
    Client::default().with_tls(tls.client(Some(expects)))
}

pub fn bearer(token: &Token) -> web::Credentials {
    web::Credentials::Bearer(token.reveal().to_owned())
}
