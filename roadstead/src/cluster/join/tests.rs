use super::*;
use axum::Router;
use axum::routing::post;
use identity::{ClientCertificates, Role, Subject, Tls};
use lifecycle::Stop;
use std::net::{IpAddr, Ipv4Addr};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

async fn refusal(config: &Config, token: &JoinToken) -> String {
    format!("{:#}", join(config, token).await.unwrap_err())
}

fn config(data: &Path) -> Config {
    let mut config = Config { data: data.to_owned(), ..Config::default() };
    config.cluster.address = Some(LOOPBACK);
    config.cluster.name = "b".into();
    config
}

fn token(fingerprint: &str, addresses: &[SocketAddr]) -> JoinToken {
    JoinToken::generate(fingerprint.into(), addresses.iter().map(ToString::to_string).collect()).unwrap()
}

/// A machine of a cluster that answers joins.
struct Controller {
    fingerprint: String,
    address: SocketAddr,
    stop: Stop,
    _files: tempfile::TempDir,
}

impl Controller {
    /// An answer of this status, and of a form that only a refusal has.
    async fn answering(status: u16) -> Self {
        let answer = (StatusCode::from_u16(status).unwrap(), r#"{"message": "it is so"}"#);
        let files = tempfile::tempdir().unwrap();
        let (ca, request) = (Ca::create("test").unwrap(), Request::generate().unwrap());
        let subject = Subject { role: Role::Controller, node: "a".into(), addresses: vec![LOOPBACK] };
        let certificate = ca.sign(&request.csr_pem, &subject).unwrap();
        let installed = identity::CertificateFiles::of(files.path(), Role::Controller);
        installed.install(ca.certificate_pem(), &certificate, &request.key_pem).unwrap();
        let tls = Tls::open(files.path(), Role::Controller).unwrap().server(ClientCertificates::Optional);
        let listener = web::bind((LOOPBACK, 0).into()).await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), Stop::new());
        let router = Router::new().route("/v1/join", post(async move || answer));
        tokio::spawn(web::serve_tls(listener, router, web::Bounds::default(), tls, stop.clone()));
        Self { fingerprint: ca.fingerprint(), address, stop, _files: files }
    }

    fn token(&self) -> JoinToken {
        token(&self.fingerprint, &[self.address])
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.stop.request();
    }
}

#[tokio::test]
async fn a_machine_that_was_refused_is_left_as_it_was() {
    for status in [403, 409, 422] {
        let data = tempfile::tempdir().unwrap();
        let controller = Controller::answering(status).await;
        let refused = refusal(&config(data.path()), &controller.token()).await;
        assert!(refused.contains("the cluster refused: it is so"), "{refused}");
        refuse_half_joined(data.path()).unwrap();
        assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0, "{status}: nothing is left");
    }
}

#[tokio::test]
async fn a_machine_that_reached_nobody_is_left_as_it_was() {
    let data = tempfile::tempdir().unwrap();
    let refused = refusal(&config(data.path()), &token(&"ab".repeat(32), &[(LOOPBACK, 1).into()])).await;
    assert!(refused.contains("no machine of the cluster can be reached: 127.0.0.1:1"), "{refused}");
    refuse_half_joined(data.path()).unwrap();
}

#[tokio::test]
async fn a_machine_that_may_have_been_taken_in_joins_again_with_its_key() {
    let data = tempfile::tempdir().unwrap();
    // It may have begun; it was done, and what came of it is lost.
    for status in [503, 200] {
        let controller = Controller::answering(status).await;
        refusal(&config(data.path()), &controller.token()).await;
        assert!(refuse_half_joined(data.path()).is_err());
    }
    let key = std::fs::read(mark(data.path())).unwrap();
    let refusing = Controller::answering(403).await;
    refusal(&config(data.path()), &refusing.token()).await;
    assert_eq!(std::fs::read(mark(data.path())).unwrap(), key, "an earlier attempt may have been heard");
}

#[tokio::test]
async fn a_machine_that_was_cut_off_while_joining_starts_nothing_else_and_may_join_again() {
    let data = tempfile::tempdir().unwrap();
    refuse_half_joined(data.path()).unwrap();
    node_key(data.path()).unwrap();
    Authority::load_or_create(data.path()).unwrap();
    let refused = refuse_half_joined(data.path()).unwrap_err().to_string();
    assert!(refused.contains("run `roadstead join` again"), "{refused}");
    let refused = refusal(&config(data.path()), &token(&"ab".repeat(32), &[(LOOPBACK, 1).into()])).await;
    assert!(refused.contains("can be reached"), "it is let on: {refused}");
}

#[tokio::test]
async fn a_platform_alone_is_not_lost_by_joining() {
    let data = tempfile::tempdir().unwrap();
    let before = Authority::load_or_create(data.path()).unwrap();
    let refused = refusal(&config(data.path()), &token(&"ab".repeat(32), &[(LOOPBACK, 1).into()])).await;
    assert!(refused.contains("join with another --data"), "{refused}");
    assert_eq!(Authority::load(data.path()).unwrap().access_key("admin"), before.access_key("admin"));
}
