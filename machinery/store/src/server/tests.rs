use super::*;
use crate::{ClientCredentials, EtcdClient, KeyRange, RangeRequest, RefusalCode, Store, StoreError, contract};
use identity::{Authority, Role, Token};
use std::path::Path;

struct Running {
    stop: Stop,
    started: Started,
    address: SocketAddr,
}

async fn run(data: &Path, verifier: Verifier) -> Running {
    run_on(SocketAddr::from(([127, 0, 0, 1], 0)), data, verifier).await
}

async fn run_on(listen: SocketAddr, data: &Path, verifier: Verifier) -> Running {
    let stop = Stop::new();
    let started = start(Config { listen, data: data.to_owned(), verifier }, stop.clone()).await.unwrap();
    let address = started.address("").unwrap();
    Running { stop, started, address }
}

impl Running {
    fn client(&self, credentials: ClientCredentials) -> EtcdClient {
        EtcdClient::connect(&[format!("http://{}", self.address)], credentials, None).unwrap()
    }

    async fn stop(self) {
        self.stop.request();
        self.started.finished().await.unwrap();
    }
}

fn tokens(authority: &Authority) -> Verifier {
    authority.identity(Role::Admin).verifier()
}

fn token(authority: &Authority, role: Role) -> ClientCredentials {
    ClientCredentials::Token(authority.token(role).clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_keeps_the_contract() {
    let data = tempfile::tempdir().unwrap();
    let server = run(data.path(), Verifier::Open).await;
    contract::check(&server.client(ClientCredentials::None)).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_there_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let server = run(data.path(), Verifier::Open).await;
    let revision = server.client(ClientCredentials::None).put("/kept", "value".into()).await.unwrap();
    server.stop().await;
    let server = run(data.path(), Verifier::Open).await;
    let kv = server.client(ClientCredentials::None).get("/kept").await.unwrap().unwrap();
    assert_eq!((&kv.value[..], kv.mod_revision), (&b"value"[..], revision));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_with_an_error_when_the_server_stops() {
    use futures::StreamExt;
    let data = tempfile::tempdir().unwrap();
    let server = run(data.path(), Verifier::Open).await;
    let mut watch = server.client(ClientCredentials::None).watch_prefix("/", 0).await.unwrap();
    server.stop().await;
    assert!(matches!(watch.next().await, Some(Err(StoreError::Unavailable { .. }))));
    assert!(watch.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_watch_lives_on() {
    use futures::StreamExt;
    let data = tempfile::tempdir().unwrap();
    let server = run(data.path(), Verifier::Open).await;
    let client = server.client(ClientCredentials::None);
    let mut watch = client.watch_prefix("/quiet", 0).await.unwrap();
    client.put("/other", "1".into()).await.unwrap();
    // Longer than a watch may be silent before it is probed, and than it may leave the probe unanswered.
    let silence = tokio::time::timeout(std::time::Duration::from_secs(4), watch.next()).await;
    assert!(silence.is_err(), "nothing was to be told: {silence:?}");
    let revision = client.put("/quiet", "1".into()).await.unwrap();
    let batch = watch.next().await.unwrap().unwrap();
    assert_eq!((batch.revision, batch.events.len()), (revision, 1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_start_before_its_store_and_outlive_it() {
    let data = tempfile::tempdir().unwrap();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = EtcdClient::connect(&[format!("http://{address}")], ClientCredentials::None, None).unwrap();
    assert!(matches!(client.get("/a").await, Err(StoreError::Unavailable { .. })));
    for round in 0..3 {
        let server = run_on(address, data.path(), Verifier::Open).await;
        // The first call may meet the connection of the server before.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while let Err(error) = client.put("/a", round.to_string().into()).await {
            assert!(std::time::Instant::now() < deadline, "round {round}: {error}");
        }
        assert_eq!(client.get("/a").await.unwrap().unwrap().value, round.to_string());
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_goes_to_the_next_endpoint_when_one_is_away() {
    let data = tempfile::tempdir().unwrap();
    let server = run(data.path(), Verifier::Open).await;
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoints = [format!("http://{away}"), format!("http://{}", server.address)];
    let client = EtcdClient::connect(&endpoints, ClientCredentials::None, None).unwrap();
    assert!(client.get("/a").await.unwrap().is_none());
    // From then on the one that answered is asked first, for writes too.
    client.put("/a", "1".into()).await.unwrap();
    server.stop().await;
}

/// An address whose packets are dropped, as a machine's that lost its network: its queue of connections is full.
async fn black_hole() -> (SocketAddr, impl Sized) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    let patience = std::time::Duration::from_millis(200);
    while let Ok(connection) = tokio::time::timeout(patience, tokio::net::TcpStream::connect(address)).await {
        queued.push(connection.unwrap());
    }
    (address, (listener, queued))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_drops_packets_costs_reads_and_writes_half_a_second_once() {
    let data = tempfile::tempdir().unwrap();
    let server = run(data.path(), Verifier::Open).await;
    let (hole, _full) = black_hole().await;
    let endpoints = [format!("http://{hole}"), format!("http://{}", server.address)];
    let client = || EtcdClient::connect(&endpoints, ClientCredentials::None, None).unwrap();
    let (reader, writer) = (client(), client());
    use futures::FutureExt;
    let timed = async |call: futures::future::BoxFuture<'_, ()>| {
        let began = std::time::Instant::now();
        call.await;
        began.elapsed().as_millis()
    };
    // Nothing was sent to it, so a write goes on, too.
    let write = timed(Box::pin(writer.put("/a", "1".into()).map(|put| assert!(put.is_ok())))).await;
    let read = timed(Box::pin(reader.get("/a").map(|read| assert!(read.is_ok())))).await;
    assert!((450..1000).contains(&write) && (450..1000).contains(&read), "{write} ms, {read} ms");
    let again = timed(Box::pin(writer.put("/a", "2".into()).map(|put| assert!(put.is_ok())))).await;
    assert!(again < 400, "{again} ms: the endpoint that answered is asked first");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_touches_its_own_keys_only() {
    let data = tempfile::tempdir().unwrap();
    let authority = Authority::generate().unwrap();
    let server = run(data.path(), tokens(&authority)).await;
    let edge = server.client(token(&authority, Role::Edge));
    let denied = |result: Result<(), StoreError>| match result {
        Err(StoreError::Refused { code: RefusalCode::PermissionDenied, message }) => {
            assert_eq!(message, "etcdserver: permission denied");
        }
        other => panic!("permission must be denied: {other:?}"),
    };
    edge.get_prefix("/roadstead/routes/").await.unwrap();
    drop(edge.watch_prefix("/roadstead/routes/", 0).await.unwrap());
    denied(edge.put("/roadstead/routes/a", "x".into()).await.map(drop));
    denied(edge.get("/roadstead/apps/a").await.map(drop));
    denied(edge.range(RangeRequest::of(KeyRange::prefix(""))).await.map(drop));
    denied(edge.watch_prefix("/roadstead/", 0).await.map(drop));
    denied(edge.delete("/roadstead/routes/a").await.map(drop));
    denied(edge.compact(1).await);
    denied(edge.lease_grant(std::time::Duration::from_secs(5)).await.map(drop));
    let admin = server.client(token(&authority, Role::Admin));
    admin.put("/anything", "x".into()).await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_no_valid_credentials_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let authority = Authority::generate().unwrap();
    let server = run(data.path(), tokens(&authority)).await;
    let refusal = |result: Result<Option<crate::KeyValue>, StoreError>| match result {
        Err(StoreError::Refused { code, message }) => (code, message),
        other => panic!("a refusal was expected: {other:?}"),
    };
    let nobody = server.client(ClientCredentials::None);
    let expected = (RefusalCode::InvalidArgument, "etcdserver: user name is empty".to_owned());
    assert_eq!(refusal(nobody.get("/a").await), expected);
    let liar = server.client(ClientCredentials::Token(Token::from_text("rs_wrong")));
    let expected = (RefusalCode::Unauthenticated, "etcdserver: invalid auth token".to_owned());
    assert_eq!(refusal(liar.get("/a").await), expected);
    let password = |password: &str| ClientCredentials::Password { user: "admin".into(), password: password.into() };
    let text = "etcdserver: authentication failed, invalid user ID or password";
    let wrong = server.client(password("wrong"));
    assert_eq!(refusal(wrong.get("/a").await), (RefusalCode::InvalidArgument, text.to_owned()));
    let right = server.client(password(authority.token(Role::Admin).reveal()));
    assert!(right.get("/a").await.unwrap().is_none());
    server.stop().await;
}

#[tokio::test]
async fn a_store_without_credentials_stays_on_loopback() {
    let data = tempfile::tempdir().unwrap();
    let listen = SocketAddr::from(([0, 0, 0, 0], 0));
    let config = Config { listen, data: data.path().to_owned(), verifier: Verifier::Open };
    let error = start(config, Stop::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "an interface without credentials may listen on loopback only, not on 0.0.0.0:0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_method_is_answered_with_status_12() {
    let data = tempfile::tempdir().unwrap();
    let server = run(data.path(), Verifier::Open).await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let mut grpc = tonic::client::Grpc::new(channel.connect().await.unwrap());
    for path in ["/etcdserverpb.Maintenance/Snapshot", "/etcdserverpb.Auth/UserAdd", "/v3lockpb.Lock/Lock"] {
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<pb::StatusRequest, pb::StatusResponse>::default();
        let path = http::uri::PathAndQuery::from_static(path);
        let answer = grpc.unary(tonic::Request::new(pb::StatusRequest {}), path, codec).await;
        assert_eq!(answer.unwrap_err().code(), tonic::Code::Unimplemented);
    }
    server.stop().await;
}

mod gateway {
    use super::*;
    use http::{Method, StatusCode};
    use serde_json::{Value, json};
    use web::{Client, Credentials, full_body};

    async fn post(server: &Running, credentials: Credentials, path: &str, body: Value) -> (StatusCode, Value) {
        let request = http::Request::post(format!("http://{}{path}", server.address));
        let request = request.body(full_body(body.to_string())).unwrap();
        let answer = Client::new(credentials).fetch(request).await.unwrap();
        (answer.status(), serde_json::from_slice(answer.body()).unwrap_or(Value::Null))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn speaks_etcds_json() {
        let data = tempfile::tempdir().unwrap();
        let server = run(data.path(), Verifier::Open).await;
        let call = async |path: &str, body: Value| {
            let (status, mut answer) = post(&server, Credentials::None, path, body).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            let header = answer.as_object_mut().unwrap().remove("header").unwrap();
            assert!(header["cluster_id"].is_string() && header["raft_term"] == "2");
            (header["revision"].clone(), answer)
        };
        // "foo" and "bar" in base64.
        let put = call("/v3/kv/put", json!({"key": "Zm9v", "value": "YmFy"})).await;
        assert_eq!(put, (json!("2"), json!({})));
        let kv = json!({"key": "Zm9v", "value": "YmFy", "create_revision": "2", "mod_revision": "2", "version": "1"});
        let (_, range) = call("/v3/kv/range", json!({"key": "Zm9v", "limit": "5"})).await;
        assert_eq!(range, json!({"kvs": [kv], "count": "1"}));
        let txn = json!({
            "compare": [{"key": "Zm9v", "target": "MOD", "result": "EQUAL", "mod_revision": 2}],
            "success": [{"requestPut": {"key": "Zm9v", "value": "", "prev_kv": true}}, {"request_range": {"key": "Zg=="}}],
        });
        let (revision, answer) = call("/v3/kv/txn", txn).await;
        let responses = json!([
            {"response_put": {"header": {"revision": "3"}, "prev_kv": kv}},
            {"response_range": {"header": {"revision": "3"}}},
        ]);
        assert_eq!((revision, answer), (json!("3"), json!({"succeeded": true, "responses": responses})));
        let (_, deleted) = call("/v3/kv/deleterange", json!({"key": "Zm9v"})).await;
        assert_eq!(deleted, json!({"deleted": "1"}));
        let (status, error) = post(&server, Credentials::None, "/v3/kv/put", json!({"value": "YmFy"})).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!((&error["error"], &error["code"]), (&json!("etcdserver: key is not provided"), &json!(3)));
        let (status, _) = post(&server, Credentials::None, "/v3/kv/put", json!({"key": "***"})).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        server.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn asks_for_credentials_except_for_health_and_version() {
        let data = tempfile::tempdir().unwrap();
        let authority = Authority::generate().unwrap();
        let server = run(data.path(), tokens(&authority)).await;
        let get = async |path: &str| {
            let answer = Client::default().get(&format!("http://{}{path}", server.address)).await.unwrap();
            (answer.status(), serde_json::from_slice::<Value>(answer.body()).unwrap_or(Value::Null))
        };
        assert_eq!(get("/health").await, (StatusCode::OK, json!({"health": "true"})));
        assert_eq!(get("/version").await.1, json!({"etcdserver": "3.4.23", "etcdcluster": "3.4.0"}));
        assert_eq!(get("/metrics").await.0, StatusCode::UNAUTHORIZED);
        let edge = Credentials::Bearer(authority.token(Role::Edge).reveal().into());
        let (status, _) = post(&server, Credentials::None, "/v3/kv/range", json!({"key": "Zm9v"})).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let (status, error) = post(&server, edge.clone(), "/v3/kv/range", json!({"key": "Zm9v"})).await;
        assert_eq!((status, &error["error"]), (StatusCode::FORBIDDEN, &json!("etcdserver: permission denied")));
        let password = authority.token(Role::Admin).reveal();
        let login = json!({"name": "admin", "password": password});
        let (status, answer) = post(&server, Credentials::None, "/v3/auth/authenticate", login).await;
        assert_eq!((status, &answer["token"]), (StatusCode::OK, &json!(password)));
        let admin = Credentials::Bearer(password.into());
        let (status, _) = post(&server, admin.clone(), "/v3/kv/put", json!({"key": "Zm9v"})).await;
        assert_eq!(status, StatusCode::OK);
        let metrics = Client::new(admin).get(&format!("http://{}/metrics", server.address)).await.unwrap();
        assert!(String::from_utf8_lossy(metrics.body()).contains("roadstead_store_revision 2"));
        let request = http::Request::builder().method(Method::POST).uri(format!("http://{}/nothing", server.address));
        let answer = Client::default().fetch(request.body(full_body("")).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        server.stop().await;
    }
}
