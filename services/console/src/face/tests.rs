//! Every page and every action against a controller made for the test.

use super::*;
use axum::body::Body;
use axum::extract::Request;
use http::header::{AUTHORIZATION, HOST, LOCATION, ORIGIN, WWW_AUTHENTICATE};
use http_body_util::BodyExt;
use identity::Token;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tower::ServiceExt;

/// What the controller was asked to change: method, path with query, credentials, body.
type Asked = (String, String, String, Value);

struct Fixture {
    console: Router,
    admin: Token,
    viewer: Token,
    asked: Arc<Mutex<Vec<Asked>>>,
    _stop: lifecycle::Stop,
}

/// A controller that answers reads from a table, and what changes something with `change`.
async fn fixture(reads: Vec<(&'static str, Value)>, change: (u16, Value)) -> Fixture {
    let reads: HashMap<&'static str, Value> = reads.into_iter().collect();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let asked_of_us = asked.clone();
    let answer = move |request: Request| async move {
        let (head, body) = request.into_parts();
        let text = |name| head.headers.get(name).map_or("", |value: &HeaderValue| value.to_str().unwrap()).to_owned();
        if head.method == Method::GET {
            assert_eq!(text(AUTHORIZATION), "Bearer console-token", "reads use the console's own token");
            return match reads.get(head.uri.path()) {
                Some(document) => (StatusCode::OK, document.to_string()),
                None => (StatusCode::NOT_FOUND, json!({"message": format!("no {}", head.uri.path())}).to_string()),
            };
        }
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        asked_of_us.lock().unwrap().push((head.method.to_string(), head.uri.to_string(), text(AUTHORIZATION), body));
        (StatusCode::from_u16(change.0).unwrap(), change.1.to_string())
    };
    let stop = lifecycle::Stop::new();
    let listener = web::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let base = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(web::serve(listener, Router::new().fallback(answer), web::Bounds::default(), stop.child()));
    let (admin, viewer) = (Token::generate().unwrap(), Token::generate().unwrap());
    let verifier = Verifier::Tokens(vec![admin.accepted_as(Role::Admin), viewer.accepted_as(Role::Viewer)]);
    let controller = Controller::new(&base, web::Credentials::Bearer("console-token".into()));
    Fixture { console: router(controller, verifier), admin, viewer, asked, _stop: stop }
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Fixture {
    async fn call(&self, request: http::request::Builder, body: &str) -> Answer {
        let request = request.header(HOST, "console").body(Body::from(body.to_owned())).unwrap();
        let (head, body) = self.console.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status.as_u16(), headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.get_as(&self.admin, path).await
    }

    async fn get_as(&self, token: &Token, path: &str) -> Answer {
        self.call(Request::builder().uri(path).header(AUTHORIZATION, bearer(token)), "").await
    }

    async fn post(&self, token: &Token, path: &str, form: &str) -> Answer {
        let request = Request::builder().method(Method::POST).uri(path);
        let request = request.header(AUTHORIZATION, bearer(token)).header(ORIGIN, "http://console");
        self.call(request.header(CONTENT_TYPE, "application/x-www-form-urlencoded"), form).await
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Answer {
    #[track_caller]
    fn shows(&self, status: u16, texts: &[&str]) {
        assert_eq!(self.status, status, "{}", self.body);
        for text in texts {
            assert!(self.body.contains(text), "the page lacks {text}:\n{}", self.body);
        }
    }

    #[track_caller]
    fn redirects_to(&self, path: &str) {
        assert_eq!((self.status, self.headers.get(LOCATION).unwrap().to_str().unwrap()), (303, path), "{}", self.body);
    }
}

fn bearer(token: &Token) -> String {
    format!("Bearer {}", token.reveal())
}

fn s3pics() -> Value {
    json!({
        "id": "/s3pics", "cmd": "cd /s3pics; ./s3pics -AccessKey=<x>", "cpus": 0.1, "mem": 64.0, "instances": 2,
        "tasksStaged": 1, "tasksRunning": 1, "tasksHealthy": 1, "tasksUnhealthy": 0, "healthChecks": [{}],
        "deployments": [{"id": "5ed4c0c5-9ff8-4a6f-a0cd-f57f59a34b43"}], "version": "2015-01-11T12:44:39.000Z",
        "tasks": [
            {
                "id": "s3pics.3eb4f9ff-9987-11e4-b40a-0242ac110003", "host": "coreos1.ad.forest", "ports": [31000],
                "stagedAt": "2015-01-11T12:44:40.000Z", "startedAt": "2015-01-11T12:44:48.000Z",
                "version": "2015-01-11T12:44:39.000Z", "healthCheckResults": [{"alive": true}]
            },
            {
                "id": "s3pics.4", "host": "coreos3.ad.forest", "ports": [31001],
                "stagedAt": "2015-01-11T12:45:00.000Z", "startedAt": null, "version": "2015-01-11T12:44:39.000Z",
                "healthCheckResults": [{"alive": false, "consecutiveFailures": 2, "lastFailureCause": "connection refused"}]
            }
        ],
        "lastTaskFailure": {
            "host": "coreos1.ad.forest", "message": "exited with status 1", "state": "TASK_FAILED",
            "taskId": "s3pics.0", "timestamp": "2015-01-11T12:44:41.000Z", "version": "2015-01-11T12:44:39.000Z"
        }
    })
}

fn reads() -> Vec<(&'static str, Value)> {
    vec![
        ("/v2/apps", json!({"apps": [s3pics(), {"id": "/a/b", "cpus": 1, "mem": 128.5, "instances": 0}]})),
        ("/v2/apps/s3pics", json!({"app": s3pics()})),
        (
            "/v1/apps/s3pics",
            json!({"app": {}, "url": "http://s3pics.localhost:8000/", "runtimes": {"process": ["no seccomp"]}}),
        ),
        ("/v1/apps/s3pics/explain", json!({"app": "/s3pics", "reasons": ["1 instance waits for a port"]})),
        ("/v2/apps/s3pics/versions", json!({"versions": ["2015-01-11T12:44:39.000Z", "2015-01-10T08:00:00.000Z"]})),
        ("/v2/apps/s3pics/versions/2015-01-10T08%3A00%3A00.000Z", json!({"id": "/s3pics", "mem": 32})),
        (
            "/v2/deployments",
            json!([{
                "id": "5ed4c0c5", "version": "2015-01-11T12:44:39.000Z", "affectedApps": ["/s3pics"], "currentStep": 2,
                "totalSteps": 2,
                "steps": [[{"action": "StartApplication", "app": "/s3pics"}], [{"action": "ScaleApplication", "app": "/s3pics"}]]
            }]),
        ),
        (
            "/v1/nodes",
            json!([{
                "id": "n1", "hostname": "coreos1", "address": "10.0.0.1", "state": "connected",
                "resources": {"cpus": 8, "mem": 2048}, "used": {"cpus": 0.2, "mem": 128}, "runtime": "process",
                "limits": ["no outbound network"], "tasks": 2
            }]),
        ),
    ]
}

#[tokio::test]
async fn the_apps_table_is_the_articles() {
    let answer = fixture(reads(), (200, json!({}))).await.get("/").await;
    answer.shows(200, &["ID", "Memory (MB)", "CPUs", "Tasks / Instances", "Status"]);
    answer
        .shows(200, &["href=\"/apps/s3pics\">/s3pics", ">64<", ">0.1<", ">1 / 2<", "Deploying", "1 healthy, 1 staged"]);
    answer.shows(200, &["href=\"/apps/a/b\">/a/b", ">128.5<", "Suspended", "<main data-live>", "signed in as admin"]);
    let policy = answer.headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'"));
    assert!(!answer.body.contains("style=") && !answer.body.contains("<script>"), "nothing inline");
}

#[tokio::test]
async fn an_apps_page_shows_its_tasks_and_its_last_failure() {
    let answer = fixture(reads(), (200, json!({}))).await.get("/apps/s3pics").await;
    answer.shows(200, &["s3pics.3eb4f9ff-9987-11e4-b40a-0242ac110003", "http://coreos1.ad.forest:31000"]);
    answer.shows(
        200,
        &["Started", "Staged", ">2015-01-11 12:44:48<", "aria-label=\"Healthy\"", "aria-label=\"Unhealthy\""],
    );
    answer.shows(200, &["connection refused (2 in a row)", "Last task failure", "exited with status 1", "TASK_FAILED"]);
    answer.shows(200, &["href=\"/deployments#5ed4c0c5-9ff8-4a6f-a0cd-f57f59a34b43\""]);
    answer.shows(200, &["value=\"scale\"", "?confirm=suspend", "?confirm=restart", "?confirm=destroy"]);
}

#[tokio::test]
async fn an_apps_page_says_where_it_is_reached_and_what_it_waits_for() {
    let answer = fixture(reads(), (200, json!({}))).await.get("/apps/s3pics").await;
    answer.shows(200, &["href=\"http://s3pics.localhost:8000/\"", "1 instance waits for a port", "no seccomp"]);
    let marathons = reads().into_iter().filter(|(path, _)| !path.starts_with("/v1/")).collect();
    fixture(marathons, (200, json!({}))).await.get("/apps/s3pics").await.shows(200, &["tasks running"]);
}

#[tokio::test]
async fn the_configuration_is_the_definition_alone() {
    let answer = fixture(reads(), (200, json!({}))).await.get("/apps/s3pics?tab=configuration").await;
    answer.shows(200, &["&quot;cmd&quot;: &quot;cd /s3pics; ./s3pics -AccessKey=&lt;x&gt;&quot;"]);
    assert!(!answer.body.contains("tasksRunning"), "what was observed is no configuration");
}

#[tokio::test]
async fn versions_are_listed_and_shown() {
    let fixture = fixture(reads(), (200, json!({}))).await;
    let answer = fixture.get("/apps/s3pics?tab=versions").await;
    let old = "version=2015-01-10T08%3A00%3A00.000Z";
    answer.shows(200, &["current", &format!("?confirm=rollback&amp;{old}"), &format!("?tab=configuration&amp;{old}")]);
    let answer = fixture.get(&format!("/apps/s3pics?tab=configuration&{old}")).await;
    answer.shows(200, &["&quot;mem&quot;: 32", "As it was at version"]);
}

#[tokio::test]
async fn deployments_show_their_steps() {
    let answer = fixture(reads(), (200, json!({}))).await.get("/deployments").await;
    answer.shows(200, &["step 2 of 2", "class=\"done\"", "class=\"now\"", "Scale application", "value=\"rollback\""]);
}

#[tokio::test]
async fn nodes_are_shown_where_the_controller_tells_them() {
    let answer = fixture(reads(), (200, json!({}))).await.get("/nodes").await;
    answer.shows(200, &["coreos1", "10.0.0.1", "Connected", "0.2 / 8", "128 / 2048", "process", "no outbound network"]);
    let answer = fixture(vec![], (200, json!({}))).await.get("/nodes").await;
    answer.shows(200, &["This controller does not tell its nodes."]);
}

#[tokio::test]
async fn certificates_are_shown_where_the_controller_tells_them() {
    let known = json!({
        "certificates": [{ "id": "acme.shop.example", "names": ["shop.example"], "issuer": "acme", "default": false,
                           "notBefore": "2026-01-01T00:00:00.000Z", "notAfter": "2999-01-01T00:00:00.000Z",
                           "renewAt": "2998-01-01T00:00:00.000Z" }],
        "names": [{ "name": "cart.example", "state": "failed", "message": "the DNS of cart.example leads nowhere",
                    "failures": 1, "nextAt": "2026-01-01T00:01:00.000Z", "certificate": null }],
    });
    let answer = fixture(vec![("/v1/certificates", known)], (200, json!({}))).await.get("/certificates").await;
    answer.shows(
        200,
        &["shop.example", "Valid", "2999-01-01", "cart.example", "leads nowhere", "Certificates · Roadstead"],
    );
    let answer = fixture(vec![], (200, json!({}))).await.get("/certificates").await;
    answer.shows(200, &["This controller does not tell its certificates."]);
}

/// The reads of a controller of three machines: one leads, one was killed, one is being drained.
fn three_machines() -> Vec<(&'static str, Value)> {
    let node = |id: &str, more: Value| {
        let mut node = json!({
            "id": id, "hostname": id, "address": "10.0.0.1", "state": "connected", "tasks": 2, "draining": false,
            "suspected": false, "lost": false, "since": null, "brake": null, "leader": false, "etcd": "voter",
            "keepsState": true, "version": "0.1.0"
        });
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        node
    };
    let voter = |name: &str, healthy: bool| json!({"name": name, "role": "voter", "healthy": healthy});
    vec![
        (
            "/v1/nodes",
            json!([
                node("n1", json!({"leader": true})),
                node("n2", json!({"state": "silent", "lost": true, "since": "2026-11-22T20:11:05.000Z"})),
                node("n 3", json!({"draining": true})),
                node("n4", json!({"draining": true, "tasks": 0})),
            ]),
        ),
        (
            "/v1/cluster",
            json!({
                "leader": {"node": "n1"}, "settings": {"vips": ["10.0.0.100/24"]},
                "etcd": {"healthy": true, "members": [voter("n1", true), voter("n2", false), voter("n 3", true)]}
            }),
        ),
    ]
}

#[tokio::test]
async fn a_clusters_machines_are_shown_with_their_standing_and_their_part() {
    let fixture = fixture(three_machines(), (200, json!({}))).await;
    let answer = fixture.get("/nodes").await;
    answer.shows(200, &["<dt>Leader</dt><dd>n1</dd>", "2 of 3 voters are well", "none may fail", "10.0.0.100/24"]);
    answer.shows(200, &["node connected", "node lost", "20:11:05", "node draining", "2 tasks are still here"]);
    answer.shows(200, &["node drained", "no task is here, but it is needed for the state's majority"]);
    answer.shows(200, &["Leads", "Voter", "0.1.0", "<main data-live>"]);
    answer.shows(200, &["/nodes?confirm=drain&amp;node=n1", "/nodes?confirm=restore&amp;node=n+3"]);
    let answer = fixture.get_as(&fixture.viewer, "/nodes").await;
    answer.shows(200, &["node lost", "2 of 3 voters are well"]);
    assert!(!answer.body.contains("confirm="), "a viewer is offered no change");
}

#[tokio::test]
async fn machines_are_drained_and_restored_with_the_callers_token_after_a_question() {
    let fixture = fixture(three_machines(), (200, json!({"draining": true}))).await;
    let answer = fixture.get("/nodes?confirm=drain&node=n+3").await;
    answer.shows(200, &["Drain n 3?", "started elsewhere", "name=\"node\" value=\"n 3\"", "Cancel"]);
    assert!(!answer.body.contains("data-live"), "a question does not change under the reader");
    fixture.get("/nodes?confirm=restore&node=n1").await.shows(200, &["Restore n1?", "takes tasks again"]);
    fixture.get("/nodes?confirm=remove&node=n1").await.shows(422, &["is not an action", "Back to the nodes"]);
    assert_eq!(fixture.asked(), [], "asking changes nothing");
    fixture.post(&fixture.admin, "/nodes", "action=drain&node=n+3").await.redirects_to("/nodes");
    fixture.post(&fixture.admin, "/nodes", "action=restore&node=n1").await.redirects_to("/nodes");
    fixture.post(&fixture.admin, "/nodes", "action=drain").await.shows(422, &["which node is missing"]);
    let call = |path: &str| ("POST".to_owned(), path.to_owned(), bearer(&fixture.admin), Value::Null);
    assert_eq!(fixture.asked(), [call("/v1/nodes/n%203/drain"), call("/v1/nodes/n1/restore")]);
}

#[tokio::test]
async fn a_node_the_controller_does_not_drain_is_said_why() {
    let refusal = json!({"message": "role viewer may not POST /v1/nodes/n1/drain"});
    let fixture = fixture(three_machines(), (403, refusal)).await;
    let answer = fixture.post(&fixture.viewer, "/nodes", "action=drain&node=n1").await;
    answer.shows(403, &["Not done", "role viewer may not POST /v1/nodes/n1/drain", "href=\"/nodes\""]);
    assert_eq!(fixture.asked()[0].2, bearer(&fixture.viewer), "never the console's own token");
}

#[tokio::test]
async fn the_nodes_are_shown_although_the_cluster_cannot_be_read() {
    let mut reads = three_machines();
    reads[1].1 = json!("not a cluster");
    fixture(reads, (200, json!({}))).await.get("/nodes").await.shows(200, &["could not be read", "node lost"]);
}

#[tokio::test]
async fn actions_are_asked_for_with_the_callers_token() {
    let fixture = fixture(reads(), (200, json!({"deploymentId": "d"}))).await;
    let admin = bearer(&fixture.admin);
    for (form, path) in [
        ("action=scale&instances=20", "/apps/s3pics"),
        ("action=suspend", "/apps/s3pics"),
        ("action=restart", "/apps/s3pics"),
        ("action=rollback&version=v1", "/apps/s3pics"),
        ("action=destroy&force=true", "/"),
    ] {
        fixture.post(&fixture.admin, "/apps/s3pics", form).await.redirects_to(path);
    }
    for (form, path) in [("action=rollback&id=d1", "/deployments"), ("action=stop&id=d1", "/deployments")] {
        fixture.post(&fixture.admin, "/deployments", form).await.redirects_to(path);
    }
    let call = |method: &str, path: &str, body| (method.to_owned(), path.to_owned(), admin.clone(), body);
    let expected = [
        call("PUT", "/v2/apps/s3pics?force=false", json!({"instances": 20})),
        call("PUT", "/v2/apps/s3pics?force=false", json!({"instances": 0})),
        call("POST", "/v2/apps/s3pics/restart?force=false", Value::Null),
        call("PUT", "/v2/apps/s3pics?force=false", json!({"version": "v1"})),
        call("DELETE", "/v2/apps/s3pics?force=true", Value::Null),
        call("DELETE", "/v2/deployments/d1?force=false", Value::Null),
        call("DELETE", "/v2/deployments/d1?force=true", Value::Null),
    ];
    assert_eq!(fixture.asked(), expected);
}

#[tokio::test]
async fn a_viewers_action_is_the_controllers_to_refuse() {
    let refusal = json!({"message": "role viewer may not PUT /v2/apps/s3pics"});
    let fixture = fixture(reads(), (403, refusal)).await;
    let answer = fixture.post(&fixture.viewer, "/apps/s3pics", "action=scale&instances=3").await;
    answer.shows(403, &["Not done", "role viewer may not PUT /v2/apps/s3pics"]);
    assert_eq!(fixture.asked()[0].2, bearer(&fixture.viewer), "never the console's own token");
}

#[tokio::test]
async fn a_viewer_sees_everything_and_is_offered_no_change() {
    let fixture = fixture(reads(), (200, json!({}))).await;
    let app = ["/apps/s3pics", "/apps/s3pics?tab=configuration", "/apps/s3pics?tab=versions"];
    for path in ["/", "/deployments", "/nodes"].into_iter().chain(app) {
        let answer = fixture.get_as(&fixture.viewer, path).await;
        answer.shows(200, &["signed in as viewer"]);
        assert!(!answer.body.contains("<form") && !answer.body.contains("confirm="), "{path} offers a change");
    }
}

#[tokio::test]
async fn dangerous_actions_are_asked_about_first() {
    let fixture = fixture(reads(), (200, json!({}))).await;
    let answer = fixture.get("/apps/s3pics?confirm=destroy").await;
    answer.shows(200, &["Destroy /s3pics?", "This cannot be undone", "name=\"action\" value=\"destroy\"", "Cancel"]);
    assert!(!answer.body.contains("data-live"), "a question does not change under the reader");
    let answer = fixture.get("/apps/s3pics?confirm=rollback&version=v1").await;
    answer.shows(200, &["Roll /s3pics back to v1?", "name=\"version\" value=\"v1\""]);
    fixture.get("/apps/s3pics?confirm=explode").await.shows(422, &["is not an action"]);
    assert_eq!(fixture.asked(), [], "asking changes nothing");
}

#[tokio::test]
async fn a_locked_app_can_be_forced() {
    let locked = json!({"message": "App is locked by one or more deployments.", "deployments": [{"id": "d7"}]});
    let fixture = fixture(reads(), (409, locked)).await;
    let answer = fixture.post(&fixture.admin, "/apps/s3pics", "action=scale&instances=3").await;
    answer.shows(409, &["App is locked", "/deployments#d7", "name=\"force\" value=\"true\"", "value=\"3\""]);
}

#[tokio::test]
async fn what_the_form_gets_wrong_is_said() {
    let fixture = fixture(reads(), (200, json!({}))).await;
    let answer = fixture.post(&fixture.admin, "/apps/s3pics", "action=scale&instances=many").await;
    answer.shows(422, &["&quot;many&quot; is not a number of instances"]);
    fixture.post(&fixture.admin, "/deployments", "action=explode&id=d").await.shows(422, &["explode"]);
    let long = format!("action=scale&instances={}", "9".repeat(FORM_BYTES_MAX));
    fixture.post(&fixture.admin, "/apps/s3pics", &long).await.shows(413, &["Not done"]);
    assert_eq!(fixture.asked(), []);
}

#[tokio::test]
async fn errors_of_the_controller_are_shown_as_they_are() {
    let fixture = fixture(vec![("/v2/apps", json!([1, 2]))], (200, json!({}))).await;
    fixture.get("/apps/missing").await.shows(404, &["Not found", "no /v2/apps/missing"]);
    fixture
        .get("/")
        .await
        .shows(502, &["The controller could not be asked", "/v2/apps is not what the Marathon API promises"]);
    fixture.get("/else").await.shows(404, &["The console has no such page."]);
}

#[tokio::test]
async fn a_controller_that_is_away_is_said_to_be() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let controller = Controller::new(&base, web::Credentials::None);
    let request = Request::builder().uri("/").header(HOST, "localhost").body(Body::empty()).unwrap();
    let answer = router(controller, Verifier::Open).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(body.contains("the controller did not answer: call"), "{body}");
    assert!(body.contains("data-live"), "the page comes back with the controller");
}

#[tokio::test]
async fn strangers_other_sites_and_machines_stay_out() {
    let fixture = fixture(reads(), (200, json!({}))).await;
    let answer = fixture.call(Request::builder().uri("/"), "").await;
    assert_eq!(answer.status, 401);
    assert!(answer.headers[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Basic realm="), "a browser asks");
    let request = Request::builder().method(Method::POST).uri("/apps/s3pics").header(ORIGIN, "http://evil.example");
    let request = request.header(AUTHORIZATION, bearer(&fixture.admin));
    assert_eq!(fixture.call(request, "action=destroy").await.status, 403);
    assert_eq!(fixture.asked(), []);
}
