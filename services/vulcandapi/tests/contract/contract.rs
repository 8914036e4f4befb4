//! What the API promises, over any store.

use axum::Router;
use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use identity::SealKey;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Compare, Store};
use tower::ServiceExt;
use vulcandapi::Config;

const OK: StatusCode = StatusCode::OK;
const BAD: StatusCode = StatusCode::BAD_REQUEST;
const NOT_FOUND: StatusCode = StatusCode::NOT_FOUND;
const DEADLINE: Duration = Duration::from_secs(20);

pub struct Api {
    pub store: Arc<dyn Store>,
    pub seal_key: SealKey,
    router: Router,
}

impl Api {
    pub fn new(store: Arc<dyn Store>) -> Self {
        let seal_key = SealKey::generate().unwrap();
        let config = Config { store: store.clone(), fence: None, seal_key: Some(seal_key.clone()), statistics: None };
        Self { store, seal_key, router: vulcandapi::router(config) }
    }

    pub fn fenced(store: Arc<dyn Store>, fence: Compare) -> Self {
        let seal_key = SealKey::generate().unwrap();
        let config = Config { store: store.clone(), fence: Some(fence), seal_key: None, statistics: None };
        Self { store, seal_key, router: vulcandapi::router(config) }
    }

    pub async fn send(&self, method: Method, path: &str, kind: &str, body: &str) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, kind);
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(Method::GET, path, "application/json", "").await
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.send(Method::POST, path, "application/json", &body.to_string()).await
    }

    pub async fn delete(&self, path: &str) -> (StatusCode, Value) {
        self.send(Method::DELETE, path, "application/json", "").await
    }

    async fn must(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.post(path, body).await;
        assert_eq!(status, OK, "{path}: {answer}");
        answer
    }

    async fn stored(&self, key: &str) -> Value {
        let held = self.store.get(key).await.unwrap().unwrap_or_else(|| panic!("{key} is not there"));
        serde_json::from_slice(&held.value).unwrap()
    }

    async fn put(&self, key: &str, value: Value) {
        self.store.put(key, value.to_string().into()).await.unwrap();
    }

    async fn is_there(&self, key: &str) -> bool {
        self.store.get(key).await.unwrap().is_some()
    }

    async fn clear(&self) {
        for prefix in ["/vulcand/", "vulcand/"] {
            for held in self.store.read_prefix(prefix, 0).await.unwrap().1 {
                self.store.delete(std::str::from_utf8(&held.key).unwrap()).await.unwrap();
            }
        }
    }
}

pub async fn check(store: Arc<dyn Store>) {
    let api = Api::new(store);
    every_object_is_made_shown_listed_and_deleted(&api).await;
    what_is_wrong_is_refused_by_name(&api).await;
    what_vulcand_does_not_know_stays(&api).await;
    a_middlewares_secret_is_never_shown(&api).await;
    deleting_touches_nothing_else(&api).await;
    keys_of_either_prefix_and_form_are_one_object(&api).await;
    what_lives_for_a_while_goes(&api).await;
    a_private_key_is_sealed_and_never_shown(&api).await;
    writers_at_once_lose_nothing(&api).await;
    nothing_is_written_without_the_lead(&api).await;
}

fn backend(id: &str) -> Value {
    json!({ "Backend": { "Id": id, "Type": "http" } })
}

fn server(id: &str, url: &str) -> Value {
    json!({ "Server": { "Id": id, "URL": url } })
}

fn frontend(id: &str, backend: &str) -> Value {
    json!({ "Frontend": { "Id": id, "Type": "http", "BackendId": backend, "Route": format!("Path(`/{id}`)") } })
}

fn limit(id: &str) -> Value {
    let settings = json!({ "PeriodSeconds": 1, "Requests": 10, "Burst": 3, "Variable": "client.ip" });
    json!({ "Middleware": { "Id": id, "Type": "connlimit", "Priority": 1,
                            "Middleware": { "Connections": settings["Requests"], "Variable": "client.ip" } } })
}

async fn every_object_is_made_shown_listed_and_deleted(api: &Api) {
    assert_eq!(api.get("/v2/status").await, (OK, json!({ "Status": "ok" })));
    assert_eq!(api.get("/v1/status").await, (OK, json!({ "Status": "ok" })));
    for list in ["hosts", "listeners", "backends", "frontends"] {
        let (status, answer) = api.get(&format!("/v2/{list}")).await;
        let lists = answer.as_object().unwrap().values().collect::<Vec<_>>();
        assert_eq!((status, lists), (OK, vec![&json!([])]), "{list}");
    }
    let listener = json!({ "Listener": { "Id": "l1", "Protocol": "http",
        "Address": { "Network": "tcp", "Address": "127.0.0.1:18183" }, "Scope": "Host(`a`)" } });
    for (path, member, body) in [
        ("/v2/hosts", "Host", json!({ "Host": { "Name": "h1", "Settings": { "Default": true } } })),
        ("/v2/listeners", "Listener", listener),
        ("/v2/backends", "Backend", backend("b1")),
        ("/v2/backends/b1/servers", "Server", server("s1", "http://localhost:5000")),
        ("/v2/frontends", "Frontend", frontend("f1", "b1")),
        ("/v2/frontends/f1/middlewares", "Middleware", limit("c1")),
    ] {
        let answer = api.must(path, body.clone()).await;
        let id = answer.get("Id").or(answer.get("Name")).unwrap().as_str().unwrap().to_owned();
        assert_eq!(api.get(&format!("{path}/{id}")).await, (OK, answer.clone()));
        let (_, listed) = api.get(path).await;
        assert_eq!(listed, json!({ format!("{member}s"): [answer] }), "{path}");
        // Once more, as it was shown.
        assert_eq!(api.must(path, json!({ member: answer })).await, answer);
    }
    assert_eq!(
        api.get("/v2/frontends/f1").await.1["Settings"]["Limits"],
        json!({ "MaxMemBodyBytes": 0, "MaxBodyBytes": 0 }),
        "defaults are shown"
    );
    let in_use = "can not delete backend 'b1', it is in use by [f1]";
    assert_eq!(api.delete("/v2/backends/b1").await, (StatusCode::CONFLICT, json!({ "message": in_use })));
    for (path, message) in [
        ("/v2/frontends/f1/middlewares/c1", "Middleware deleted"),
        ("/v2/frontends/f1", "Frontend deleted"),
        ("/v2/backends/b1/servers/s1", "Server deleted"),
        ("/v2/backends/b1", "Backend deleted"),
        ("/v2/listeners/l1", "Listener deleted"),
        ("/v2/hosts/h1", "Host 'h1' deleted"),
    ] {
        assert_eq!(api.delete(path).await, (OK, json!({ "message": message })), "{path}");
        assert_eq!(api.delete(path).await.0, NOT_FOUND, "{path} again");
        assert_eq!(api.get(path).await.0, NOT_FOUND, "{path}");
    }
    let (_, left) = api.store.read_prefix("/vulcand/", 0).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

async fn what_is_wrong_is_refused_by_name(api: &Api) {
    api.clear().await;
    api.must("/v2/backends", backend("b1")).await;
    api.must("/v2/frontends", frontend("f1", "b1")).await;
    let of_frontend = |field: &str, value: Value| {
        let mut body = frontend("f2", "b1");
        body["Frontend"][field] = value;
        body
    };
    let tcp = json!({ "Network": "tcp", "Address": "127.0.0.1:1" });
    for (path, body, status, named) in [
        ("/v2/hosts", json!({}), BAD, "Missing mandatory parameter: Host"),
        ("/v2/backends", json!({ "Frontend": {} }), BAD, "Missing mandatory parameter: Backend"),
        ("/v2/backends", json!({ "Backend": { "Type": "http" } }), BAD, "Id: "),
        ("/v2/backends", json!({ "Backend": { "Id": "", "Type": "http" } }), BAD, "Id: "),
        ("/v2/backends", json!({ "Backend": { "Id": "a/b", "Type": "http" } }), BAD, "Id: "),
        ("/v2/backends", json!({ "Backend": { "Id": "b", "Type": "tcp" } }), BAD, "Type: "),
        ("/v2/backends", json!({ "Backend": { "Id": "b" } }), BAD, "Type"),
        (
            "/v2/backends",
            json!({ "Backend": { "Id": "b", "Type": "http", "Settings": { "Timeouts": { "Dial": "5" } } } }),
            BAD,
            "Timeouts.Dial",
        ),
        ("/v2/frontends", of_frontend("Route", json!("nonsense")), BAD, "Route: "),
        ("/v2/frontends", of_frontend("Settings", json!({ "Stream": 1 })), BAD, "Settings.Stream: "),
        (
            "/v2/frontends",
            of_frontend("Settings", json!({ "FailoverPredicate": "Nope()" })),
            BAD,
            "Settings.FailoverPredicate: ",
        ),
        ("/v2/frontends", of_frontend("BackendId", json!("")), BAD, "BackendId"),
        ("/v2/frontends", frontend("f2", "b2"), NOT_FOUND, "Backend 'b2' is not found"),
        ("/v2/backends/b2/servers", server("s", "http://a:1"), NOT_FOUND, "Backend 'b2' is not found"),
        ("/v2/backends/b1/servers", server("s", "nonsense"), BAD, "URL: "),
        ("/v2/frontends/f2/middlewares", limit("c"), NOT_FOUND, "Frontend 'f2' is not found"),
        (
            "/v2/frontends/f1/middlewares",
            json!({ "Middleware": { "Id": "m", "Type": "magic", "Middleware": {} } }),
            BAD,
            "Middleware: ",
        ),
        ("/v2/listeners", json!({ "Listener": { "Id": "l", "Protocol": "gopher", "Address": tcp } }), BAD, "protocol"),
        ("/v2/frontends", json!({ "Frontend": { "Id": "f" }, "TTL": "soon" }), BAD, "TTL: "),
    ] {
        let (found, answer) = api.post(path, body.clone()).await;
        let message = answer["message"].as_str().unwrap_or_default().to_ascii_lowercase();
        assert!(found == status && message.contains(&named.to_ascii_lowercase()), "{path} {body}: {found} {answer}");
    }
    let form = "application/x-www-form-urlencoded";
    assert_eq!(api.send(Method::POST, "/v2/hosts", form, "a=b").await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let long = "x".repeat((1 << 20) + 1);
    let (status, _) = api.send(Method::POST, "/v2/hosts", "application/json", &long).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(api.send(Method::POST, "/v2/hosts", "application/json", "{").await.0, BAD);
    for path in
        ["/v2/backends/b1%2Fservers%2Fs", "/v2/backends/b1%2Fservers/servers/s", "/v2/backends/b1/servers/a%2Fb"]
    {
        assert_eq!(api.get(path).await.0, BAD, "{path}");
        assert_eq!(api.send(Method::DELETE, path, form, "").await.0, BAD, "{path}");
    }
    assert_eq!(api.get("/v2/frontends/f1%2Fx/middlewares").await.0, BAD);
    let unknown = json!({ "message": "Object not found" });
    assert_eq!(api.get("/v2/nothing").await, (NOT_FOUND, unknown));
    assert_eq!(api.send(Method::PATCH, "/v2/hosts", form, "").await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(api.get("/v2/backends/b2/servers").await.0, NOT_FOUND);
    assert_eq!(api.get("/v2/top/frontends").await.0, NOT_FOUND, "nobody counts here");
    assert_eq!(api.send(Method::PUT, "/v2/log/severity", form, "severity=loud").await.0, BAD);
    assert_eq!(api.send(Method::PUT, "/v2/log/severity", form, "").await.0, BAD);
    assert!(api.get("/v2/log/severity").await.1["severity"].is_string());
}

async fn a_middlewares_secret_is_never_shown(api: &Api) {
    api.clear().await;
    api.must("/v2/backends", backend("b1")).await;
    api.must("/v2/frontends", frontend("f1", "b1")).await;
    let auth = |password: &str| {
        let settings = json!({ "Username": "ann", "Password": password });
        json!({ "Middleware": { "Id": "a", "Type": "auth", "Priority": 1, "Middleware": settings } })
    };
    let (path, key) = ("/v2/frontends/f1/middlewares", "/vulcand/frontends/f1/middlewares/a");
    assert_eq!(api.post(path, auth("(redacted)")).await.0, BAD, "there is none that could stay");
    let written = api.must(path, auth("hunter2")).await;
    let shown = api.get(&format!("{path}/a")).await.1;
    let listed = api.get(path).await.1;
    for answer in [&written, &shown, &listed] {
        let text = answer.to_string();
        assert!(text.contains("(redacted)") && !text.contains("hunter2"), "{text}");
    }
    api.must(path, json!({ "Middleware": shown })).await;
    assert_eq!(api.stored(key).await["Middleware"]["Password"], "hunter2", "sent back as it is shown, it stays");
}

async fn what_vulcand_does_not_know_stays(api: &Api) {
    api.clear().await;
    api.must("/v2/backends", backend("b1")).await;
    let stored = json!({ "id": "x", "Type": "http", "BackendId": "b1", "Route": "Path(`/a`)", "Owner": "shop",
                         "Settings": { "Hostname": "h", "Budget": { "Retries": 3 } } });
    api.put("/vulcand/frontends/f1/frontend", stored).await;
    // As `vctl frontend upsert` writes it.
    let typed = json!({ "Frontend": { "Id": "f1", "Type": "http", "BackendId": "b1", "Route": "Path(`/b`)", "Settings": {
        "Limits": { "MaxMemBodyBytes": 0, "MaxBodyBytes": 5 }, "FailoverPredicate": "", "Hostname": "" } } });
    api.must("/v2/frontends", typed).await;
    let kept = api.stored("/vulcand/frontends/f1/frontend").await;
    assert_eq!((&kept["Owner"], &kept["Settings"]["Budget"]["Retries"]), (&json!("shop"), &json!(3)));
    assert_eq!((&kept["Route"], &kept["Settings"]["Hostname"]), (&json!("Path(`/b`)"), &json!("")));
    let mut gone = frontend("f1", "b1");
    gone["Frontend"]["Owner"] = Value::Null;
    assert!(api.must("/v2/frontends", gone).await.get("Owner").is_none(), "null takes a field away");
}

async fn deleting_touches_nothing_else(api: &Api) {
    api.clear().await;
    for id in ["1", "10", "1x"] {
        let (b, f) = (format!("b{id}"), format!("f{id}"));
        api.must("/v2/backends", backend(&b)).await;
        api.must(&format!("/v2/backends/{b}/servers"), server("s1", "http://a:1")).await;
        api.must(&format!("/v2/backends/{b}/servers"), server("s10", "http://a:10")).await;
        api.must("/v2/frontends", frontend(&f, &b)).await;
        api.must(&format!("/v2/frontends/{f}/middlewares"), limit("c1")).await;
    }
    assert_eq!(api.delete("/v2/backends/b10/servers/s1").await.0, OK);
    assert!(api.is_there("/vulcand/backends/b10/servers/s10").await, "a server is deleted by its whole id");
    assert_eq!(api.delete("/v2/frontends/f1").await.0, OK);
    assert_eq!(api.delete("/v2/backends/b1").await.0, OK);
    for id in ["10", "1x"] {
        assert!(api.is_there(&format!("/vulcand/frontends/f{id}/frontend")).await, "f{id}");
        assert!(api.is_there(&format!("/vulcand/frontends/f{id}/middlewares/c1")).await, "f{id}'s middleware");
        assert!(api.is_there(&format!("/vulcand/backends/b{id}/backend")).await, "b{id}");
    }
    let (_, all) = api.store.read_prefix("/vulcand/", 0).await.unwrap();
    let keys = all.iter().map(|held| String::from_utf8_lossy(&held.key).into_owned());
    let left: Vec<String> = keys.filter(|key| key.contains("/b1/") || key.contains("/f1/")).collect();
    assert!(left.is_empty(), "what belonged to them is left: {left:?}");
}

async fn keys_of_either_prefix_and_form_are_one_object(api: &Api) {
    api.clear().await;
    let plain = json!({ "Type": "http" });
    api.put("vulcand/backends/bare/backend", plain.clone()).await;
    api.put("/vulcand/backends/short", plain.clone()).await;
    // Only a server: its backend is implied.
    api.put("/vulcand/backends/implied/servers/s1", json!({ "URL": "http://a:1" })).await;
    for (id, of) in [("f1", "bare"), ("f2", "short"), ("f3", "implied")] {
        api.must("/v2/frontends", frontend(id, of)).await;
    }
    api.must("/v2/backends/bare/servers", server("s", "http://a:1")).await;
    api.must("/v2/backends", backend("short")).await;
    for key in [
        "vulcand/frontends/f1/frontend",
        "vulcand/backends/bare/servers/s",
        "/vulcand/frontends/f2/frontend",
        "/vulcand/backends/short",
        "/vulcand/frontends/f3/frontend",
    ] {
        assert!(api.is_there(key).await, "{key} is beside what it belongs to");
    }
    assert!(!api.is_there("/vulcand/backends/short/backend").await, "one key holds it");
    let (_, listed) = api.get("/v2/backends").await;
    assert_eq!(listed["Backends"].as_array().unwrap().len(), 2, "{listed}");
    assert_eq!(api.get("/v2/backends/implied/servers").await.0, OK);
    assert_eq!(api.delete("/v2/backends/implied").await.0, StatusCode::CONFLICT);
    for id in ["f1", "f2", "f3"] {
        assert_eq!(api.delete(&format!("/v2/frontends/{id}")).await.0, OK);
    }
    for id in ["bare", "short", "implied"] {
        assert_eq!(api.delete(&format!("/v2/backends/{id}")).await.0, OK, "{id}");
    }
}

async fn what_lives_for_a_while_goes(api: &Api) {
    api.clear().await;
    api.must("/v2/backends", backend("b1")).await;
    let mut body = server("s1", "http://a:1");
    body["TTL"] = json!("2s");
    api.must("/v2/backends/b1/servers", body).await;
    assert_ne!(api.store.get("/vulcand/backends/b1/servers/s1").await.unwrap().unwrap().lease, 0);
    api.must("/v2/backends/b1/servers?ttl=2s", server("s2", "http://a:2")).await;
    api.must("/v2/backends/b1/servers", server("s3", "http://a:3")).await;
    let started = Instant::now();
    loop {
        let (_, listed) = api.get("/v2/backends/b1/servers").await;
        let ids: Vec<&str> =
            listed["Servers"].as_array().unwrap().iter().filter_map(|server| server["Id"].as_str()).collect();
        assert!(ids.contains(&"s3"), "one without a TTL stays: {ids:?}");
        if ids == ["s3"] {
            break;
        }
        assert!(started.elapsed() < DEADLINE, "never gone: {ids:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn a_private_key_is_sealed_and_never_shown(api: &Api) {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    api.clear().await;
    let pair = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let (first, second) = (pair("h1"), pair("h2"));
    let (cert, key) = (STANDARD.encode(first.cert.pem()), STANDARD.encode(first.signing_key.serialize_pem()));
    let host = |pair: Value| json!({ "Host": { "Name": "h1", "Settings": { "KeyPair": pair } } });

    let answer = api.must("/v2/hosts", host(json!({ "Cert": cert, "Key": key }))).await;
    assert_eq!(answer["Settings"]["KeyPair"], json!({ "Cert": cert, "Key": null }));
    for path in ["/v2/hosts", "/v2/hosts/h1"] {
        assert!(!api.get(path).await.1.to_string().contains(&key), "{path} shows the key");
    }
    let stored = api.stored("/vulcand/hosts/h1/host").await;
    let opened = api.seal_key.open_key_pair(stored["Settings"]["KeyPair"].as_str().unwrap()).unwrap();
    assert_eq!(opened.key, first.signing_key.serialize_pem().into_bytes());

    // Sent back as it was shown, with something else changed, it stays.
    let mut again = json!({ "Host": answer });
    again["Host"]["Settings"]["OCSP"]["Enabled"] = json!(true);
    api.must("/v2/hosts", again).await;
    let kept = api.stored("/vulcand/hosts/h1/host").await;
    assert_eq!(kept["Settings"]["KeyPair"], stored["Settings"]["KeyPair"]);
    assert_eq!(kept["Settings"]["OCSP"]["Enabled"], true);

    let others = STANDARD.encode(second.signing_key.serialize_pem());
    for (given, named) in [
        (json!({ "Cert": cert, "Key": others }), "Settings.KeyPair.Key: is not the certificate's key"),
        (json!({ "Cert": "?", "Key": key }), "Settings.KeyPair.Cert: is not base64"),
        (json!({ "Cert": STANDARD.encode("x"), "Key": key }), "Settings.KeyPair.Cert: no certificates in PEM"),
        (json!({ "Cert": cert, "Key": STANDARD.encode("x") }), "Settings.KeyPair.Key: no private key"),
        (json!({ "Cert": STANDARD.encode(second.cert.pem()) }), "Settings.KeyPair: another certificate needs its Key"),
        (json!("sealed?"), "Settings.KeyPair: "),
    ] {
        let (status, answer) = api.post("/v2/hosts", host(given.clone())).await;
        assert!(status == BAD && answer["message"].as_str().unwrap().starts_with(named), "{given}: {answer}");
        assert!(!answer.to_string().contains(&key), "a refusal tells the key");
    }
    // As `vctl secret seal_keypair` makes it.
    let sealed = stored["Settings"]["KeyPair"].clone();
    api.must("/v2/hosts", host(Value::Null)).await;
    assert!(api.stored("/vulcand/hosts/h1/host").await["Settings"].get("KeyPair").is_none(), "null takes it away");
    assert_eq!(api.must("/v2/hosts", host(sealed)).await["Settings"]["KeyPair"]["Cert"], cert);
}

async fn writers_at_once_lose_nothing(api: &Api) {
    api.clear().await;
    api.must("/v2/backends", backend("b1")).await;
    let writers = (0..4).map(|writer| async move {
        for round in 0..4 {
            let mut body = frontend("f1", "b1");
            body["Frontend"][format!("Field{writer}")] = json!(round);
            api.must("/v2/frontends", body).await;
        }
    });
    futures_join(writers).await;
    let stored = api.stored("/vulcand/frontends/f1/frontend").await;
    for writer in 0..4 {
        assert_eq!(stored[format!("Field{writer}")], 3, "{stored}");
    }
}

async fn futures_join(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut pinned: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        pinned.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if pinned.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

async fn nothing_is_written_without_the_lead(api: &Api) {
    api.clear().await;
    let revision = api.store.put("/vulcandapi-test/leader", "me".into()).await.unwrap();
    let fenced = Api::fenced(api.store.clone(), Compare::unchanged("/vulcandapi-test/leader", revision));
    fenced.must("/v2/backends", backend("b1")).await;
    api.store.put("/vulcandapi-test/leader", "another".into()).await.unwrap();
    assert_eq!(fenced.post("/v2/backends", backend("b2")).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(fenced.delete("/v2/backends/b1").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(fenced.is_there("/vulcand/backends/b1/backend").await);
    assert_eq!(fenced.get("/v2/backends/b1").await.0, OK, "it still reads");
}
