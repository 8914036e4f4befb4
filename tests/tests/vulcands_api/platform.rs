//! An edge and a controller over one store, and what becomes of routes there.

use axum::Router;
use http::header::HOST;
use http::{Method, Request};
use identity::{Authority, Role};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;

pub const DEADLINE: Duration = Duration::from_secs(20);

pub struct Platform {
    pub authority: Authority,
    pub store: Arc<dyn Store>,
    pub controller: String,
    edge: SocketAddr,
    pub api: String,
    stop: lifecycle::Stop,
}

impl Platform {
    /// With a controller, which edges reach where it takes sessions alone; without one the edge writes by itself.
    pub async fn start(store: Arc<dyn Store>, with_controller: bool) -> Self {
        let stop = lifecycle::Stop::new();
        let authority = Authority::generate().unwrap();
        let seal_key = identity::SealKey::generate().unwrap();
        let (mut controllers, mut controller) = (Vec::new(), String::new());
        if with_controller {
            let (of, key) = (store.clone(), seal_key.clone());
            let vulcand: controller::MakeVulcandApi = Arc::new(move |fence| {
                let (store, seal_key) = (of.clone(), Some(key.clone()));
                vulcandapi::router(vulcandapi::Config { store, fence: Some(fence), seal_key, statistics: None })
            });
            let verifier = authority.identity(Role::Controller).verifier();
            let config =
                controller::Config { vulcand: Some(vulcand), ..controller::Config::new(store.clone(), verifier) };
            let started = controller::start(config, stop.child()).await.unwrap();
            controllers.push(format!("http://{}", started.address("sessions").unwrap()));
            controller = format!("http://{}", started.address("").unwrap());
            tokio::spawn(started.finished());
        }
        let of = store.clone();
        let make: edge::MakeApi = Box::new(move |statistics| {
            let statistics = Some(statistics);
            vulcandapi::router(vulcandapi::Config { store: of, fence: None, seal_key: Some(seal_key), statistics })
        });
        let aliases = vec!["Host(`shop`)=Host(`shop.alias`)".parse().unwrap()];
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = edge::Config {
            listen: vec![any],
            listen_tls: Vec::new(),
            api: Some(any),
            store: store.clone(),
            controllers,
            data: None,
            token: Some(authority.token(Role::Edge).clone()),
            tls: None,
            seal_key: None,
            verifier: authority.identity(Role::Edge).verifier(),
            edge_id: "edge-1".into(),
            node_id: String::new(),
            client_times: edge::ClientTimes::default(),
            vulcand: edge::Vulcand { aliases, api: Some(make), ..edge::Vulcand::default() },
            proxies: Vec::new(),
            observation: edge::Observation::default(),
            take_over: false,
            drain: edge::Drain::default(),
        };
        let started = edge::start(config, stop.child()).await.unwrap();
        let (edge, api) = (started.address("").unwrap(), format!("http://{}", started.address("api").unwrap()));
        tokio::spawn(started.finished());
        Self { authority, store, controller, edge, api, stop }
    }

    pub async fn ask(&self, role: Option<Role>, method: Method, url: String, body: &Value) -> (u16, Value) {
        let credentials = role.map(|role| self.authority.token(role).reveal().to_owned());
        let client = web::Client::new(credentials.map_or(web::Credentials::None, web::Credentials::Bearer));
        let body = if method.is_safe() { String::new() } else { body.to_string() };
        let answer = client.call(method, &url, Some("application/json"), web::full_body(body)).await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap_or_default())
    }

    pub async fn admin(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        self.ask(Some(Role::Admin), method, format!("{}{path}", self.api), body).await
    }

    pub async fn must(&self, path: &str, body: Value) {
        let (status, answer) = self.admin(Method::POST, path, &body).await;
        assert_eq!(status, 200, "{path}: {answer}");
    }

    /// Who answers for a host and path; a number when nobody does.
    pub async fn served(&self, host: &str, path: &str) -> String {
        let request = Request::get(format!("http://{}{path}", self.edge)).header(HOST, host);
        let answer = web::Client::default().fetch(request.body(web::empty_body()).unwrap()).await.unwrap();
        match answer.status().is_success() {
            true => String::from_utf8(answer.body().to_vec()).unwrap(),
            false => answer.status().as_u16().to_string(),
        }
    }

    pub async fn until_served(&self, host: &str, path: &str, by: &str) {
        let start = Instant::now();
        loop {
            let served = self.served(host, path).await;
            if served == by {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "{host}{path} is served by {served}, never by {by}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub async fn create_all(&self, one: SocketAddr, two: SocketAddr) {
        self.must("/v2/backends", json!({ "Backend": { "Id": "b1", "Type": "http" } })).await;
        self.must("/v2/backends/b1/servers", server("s1", one)).await;
        self.must("/v2/backends", json!({ "Backend": { "Id": "b2", "Type": "http" } })).await;
        self.must("/v2/backends/b2/servers", server("s1", two)).await;
        self.must("/v2/frontends", frontend("f1", "b1", "Host(`shop`)")).await;
        let limit = json!({ "Middleware": { "Id": "c", "Type": "connlimit", "Priority": 1,
                                            "Middleware": { "Connections": 100, "Variable": "client.ip" } } });
        self.must("/v2/frontends/f1/middlewares", limit).await;
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.stop.request();
    }
}

fn server(id: &str, address: SocketAddr) -> Value {
    json!({ "Server": { "Id": id, "URL": format!("http://{address}") } })
}

pub fn frontend(id: &str, backend: &str, route: &str) -> Value {
    json!({ "Frontend": { "Id": id, "Type": "http", "BackendId": backend, "Route": route } })
}

pub async fn named(name: &'static str) -> SocketAddr {
    let listener = web::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(move || async move { name });
    tokio::spawn(web::serve(listener, router, web::Bounds::default(), lifecycle::Stop::new()));
    address
}

/// Create all, serve, change, take back, serve as before.
pub async fn changed_and_taken_back(store: Arc<dyn Store>) {
    let (one, two) = (named("one").await, named("two").await);
    let platform = Platform::start(store, true).await;
    platform.create_all(one, two).await;
    platform.until_served("shop", "/", "one").await;
    platform.until_served("shop.alias", "/", "one").await;
    let before = platform.store.range(store::RangeRequest::of(store::KeyRange::one("/x"))).await.unwrap().revision;

    // One change moves the frontend, another makes a second, a third takes a server away.
    platform.must("/v2/frontends", frontend("f1", "b2", "Host(`shop`)")).await;
    platform.must("/v2/frontends", frontend("f2", "b1", "Host(`cart`)")).await;
    platform.until_served("shop", "/", "two").await;
    platform.until_served("cart", "/", "one").await;
    let (status, _) = platform.admin(Method::DELETE, "/v2/backends/b1/servers/s1", &Value::Null).await;
    assert_eq!(status, 200);
    platform.until_served("cart", "/", "503").await;

    let rollback = |dry_run| {
        let body = json!({ "revision": before, "dry_run": dry_run, "servers": true });
        let url = format!("{}/v1/routes/rollback", platform.controller);
        let platform = &platform;
        async move { platform.ask(Some(Role::Admin), Method::POST, url, &body).await }
    };
    let (status, planned) = rollback(true).await;
    assert_eq!((status, planned["changes"].as_array().unwrap().len()), (200, 3), "{planned}");
    assert_eq!(platform.served("shop", "/").await, "two");
    let (status, done) = rollback(false).await;
    assert_eq!(status, 200, "{done}");
    // Its keys were changed in one transaction, so that whoever sees one of them sees all.
    platform.until_served("shop", "/", "one").await;
    assert_eq!(platform.served("cart", "/").await, "404", "what was changed together takes effect together");
    let (_, history) = platform
        .ask(Some(Role::Viewer), Method::GET, format!("{}/v1/routes/history", platform.controller), &Value::Null)
        .await;
    assert!(history["revisions"].as_array().unwrap().len() >= 6, "{history}");
}
