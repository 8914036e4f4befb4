use super::*;
use crate::CanarySpec;

fn document() -> RouteDocument {
    RouteDocument {
        v: 0,
        rule: "Host(`a`)".into(),
        priority: None,
        servers: vec![
            RouteServer { id: "1".into(), url: "http://10.0.0.1:80".into(), weight: 1 },
            RouteServer { id: "2".into(), url: "http://10.0.0.1".into(), weight: 7 },
        ],
        pass_host_header: true,
        failover_predicate: String::new(),
        app: None,
        middlewares: Vec::new(),
        balance: BalanceSpec::default(),
        server_tls: ServerTls::default(),
        tcp: None,
        send_proxy: None,
    }
}

#[test]
fn a_tcp_route_has_servers_and_nothing_that_needs_requests() {
    let text = r#"{"v":0,"tcp":{"listen":":5432","sni":["db.example"]},"send_proxy":"v2",
        "servers":[{"id":"1","url":"tcp://10.0.0.1:5432"}]}"#;
    let document: RouteDocument = serde_json::from_str(text).unwrap();
    let spec = RouteSpec::of_document("db", document).unwrap();
    let route = Route::compile(spec.clone()).unwrap();
    assert_eq!(route.servers[0].url.as_str(), "http://10.0.0.1:5432");
    assert_eq!((route.spec().tcp, route.send_proxy), (spec.tcp.clone(), Some(SendProxy::V2)));
    let sticky: BalanceSpec = serde_json::from_str(r#"{"sticky":{}}"#).unwrap();
    let hashed: BalanceSpec = serde_json::from_str(r#"{"policy":"hash","hash_on":"path"}"#).unwrap();
    for wrong in [
        RouteSpec { rule: "Host(`a`)".into(), ..spec.clone() },
        RouteSpec { middlewares: vec![serde_json::json!({})], ..spec.clone() },
        RouteSpec { failover_predicate: "IsNetworkError()".into(), ..spec.clone() },
        RouteSpec { balance: sticky, ..spec.clone() },
        RouteSpec { balance: hashed, ..spec.clone() },
    ] {
        assert!(matches!(Route::compile(wrong), Err(RouteError::Tcp(TcpError::NeedsRequests { .. }))));
    }
    let requests = RouteSpec { tcp: None, rule: "Host(`a`)".into(), ..spec };
    assert!(matches!(Route::compile(requests), Err(RouteError::Server { .. })), "tcp:// is for TCP routes");
}

#[test]
fn a_document_becomes_a_route_and_one_address_is_one_server() {
    let route = Route::compile(RouteSpec::of_document("a", document()).unwrap()).unwrap();
    assert_eq!(route.servers.len(), 1);
    assert_eq!(route.servers[0].weight, 1);
    assert_eq!(route.service, Service::Serve);
    assert!(route.pass_host_header);
}

#[test]
fn a_route_compiles_again_from_its_spec() {
    let document = RouteDocument { middlewares: vec![serde_json::json!({"type": "auth"})], ..document() };
    let spec = RouteSpec {
        failover_predicate: "IsNetworkError() && Attempts() < 3".into(),
        body_bytes_max: 9,
        dial_timeout: Some(Duration::from_millis(1500)),
        handshake_timeout: Some(Duration::from_millis(700)),
        refuse: Some("not now".into()),
        ..RouteSpec::of_document("a", document).unwrap()
    };
    let once = Route::compile(spec).unwrap().spec();
    let again = Route::compile(serde_json::from_str(&serde_json::to_string(&once).unwrap()).unwrap()).unwrap();
    assert_eq!(again.spec(), once);
    assert_eq!((again.servers.len(), again.dial_timeout), (1, Some(Duration::from_millis(1500))));
    assert_eq!(again.service, Service::Refuse("not now".into()));
    assert_eq!(again.middlewares, [serde_json::json!({"type": "auth"})]);
}

#[test]
fn a_canary_is_of_the_route_and_in_its_spec_again() {
    let server = |id: &str, port| RouteServer { id: id.into(), url: format!("http://a:{port}"), weight: 1 };
    let canary = CanarySpec { percent: 5, servers: vec![server("new", 2), server("old", 1)] };
    let balance = BalanceSpec { canary: Some(canary), ..BalanceSpec::default() };
    let document = RouteDocument { servers: vec![server("old", 1)], balance, ..document() };
    let spec = RouteSpec::of_document("a", document).unwrap();
    let route = Route::compile(spec.clone()).unwrap();
    let servers: Vec<_> = route.servers.iter().map(|server| (server.id.as_str(), server.is_canary)).collect();
    assert_eq!(servers, [("old", false), ("new", true)]);
    let again: RouteSpec = serde_json::from_str(&serde_json::to_string(&route.spec()).unwrap()).unwrap();
    assert_eq!(again.balance, spec.balance);
    assert_eq!(Route::compile(again).unwrap().servers, route.servers);
    let nonsense = BalanceSpec { slow_start_seconds: u32::MAX, ..BalanceSpec::default() };
    assert!(matches!(Route::compile(RouteSpec { balance: nonsense, ..spec }), Err(RouteError::Balance(_))));
}

#[test]
fn bodies_stream_unless_somebody_wants_them_again() {
    let route = |predicate: &str, balance: &str| {
        let document = RouteDocument { failover_predicate: predicate.into(), ..document() };
        let balance = serde_json::from_str(balance).unwrap();
        Route::compile(RouteSpec { balance, ..RouteSpec::of_document("a", document).unwrap() }).unwrap()
    };
    let default = route("", "{}");
    assert_eq!(["GET", "POST", "PUT"].map(|method| default.buffered_bytes(method)), [None; 3]);
    let named = route(r#"RequestMethod() == "POST""#, "{}");
    assert_eq!((named.buffered_bytes("POST"), named.buffered_bytes("PUT")), (Some(1 << 20), None));
    assert_eq!(route("", r#"{"buffer":{"memory_bytes":7}}"#).buffered_bytes("PUT"), Some(7));
}

#[test]
fn faults_are_named() {
    let spec = RouteSpec { rule: "Host(".into(), ..RouteSpec::default() };
    assert!(matches!(Route::compile(spec), Err(RouteError::Rule { .. })));
    let servers = vec![("s".into(), "tcp://a".into(), 1)];
    let spec = RouteSpec { rule: "Host(`a`)".into(), servers, ..RouteSpec::default() };
    assert!(matches!(Route::compile(spec), Err(RouteError::Server { id, .. }) if id == "s"));
    let spec = RouteSpec { rule: "Host(`a`)".into(), failover_predicate: "x".into(), ..RouteSpec::default() };
    assert!(matches!(Route::compile(spec), Err(RouteError::Failover { .. })));
    let newer = RouteDocument { v: 1, ..document() };
    assert_eq!(RouteSpec::of_document("a", newer), Err(RouteError::Version { v: 1 }));
}
