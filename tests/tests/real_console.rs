//! The console in a real browser, before a controller made for the test.

use axum::extract::{Path as UrlPath, State};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use identity::{Role, Token, Verifier};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use story::webdriver::{Browser, View};

const LIMIT: Duration = Duration::from_secs(20);
const DEPLOYMENT: &str = "5ed4c0c5-9ff8-4a6f-a0cd-f57f59a34b43";

/// What the controller believes of `/s3pics`; `None` once it is destroyed.
#[derive(Clone, Copy)]
struct Belief {
    instances: u64,
    running: u64,
}

type Controller = Arc<Mutex<Option<Belief>>>;

fn app(Belief { instances, running }: Belief) -> Value {
    let task = |number: u64| {
        json!({
            "id": format!("s3pics.3eb4f9{number:02x}-9987-11e4-b40a-0242ac110003"), "host": "coreos1.ad.forest",
            "ports": [31000 + number], "version": "2015-01-11T12:44:39.000Z",
            "stagedAt": "2015-01-11T12:44:40.000Z", "startedAt": "2015-01-11T12:44:48.000Z",
            "healthCheckResults": [{"alive": number > 0 || instances == 1, "consecutiveFailures": 2, "lastFailureCause": "HTTP 503"}]
        })
    };
    let deployments = if running == instances { json!([]) } else { json!([{"id": DEPLOYMENT}]) };
    json!({
        "id": "/s3pics", "cmd": "cd /s3pics; ./s3pics -AccessKey=…", "cpus": 0.1, "mem": 64.0, "instances": instances,
        "tasksRunning": running, "tasksStaged": 0, "tasksHealthy": running, "tasksUnhealthy": 0,
        "deployments": deployments, "version": "2015-01-11T12:44:39.000Z",
        "tasks": (0..running).map(task).collect::<Vec<_>>(),
        "lastTaskFailure": {
            "host": "coreos1.ad.forest", "message": "exited with status 1", "state": "TASK_FAILED", "taskId": "s3pics.0",
            "timestamp": "2015-01-11T12:44:41.000Z", "version": "2015-01-11T12:44:39.000Z"
        }
    })
}

/// One machine leads, one is suspected while the brake is on, one was lost.
fn machines() -> Value {
    let machine = |number: u64, more: Value| {
        let mut machine = json!({
            "id": format!("n{number}"), "hostname": format!("coreos{number}"), "address": format!("10.64.231.4{number}"),
            "state": "connected", "runtime": "process", "limits": ["no outbound network", "no seccomp"],
            "resources": {"cpus": 8, "mem": 24576}, "used": {"cpus": 0.1, "mem": 64}, "tasks": 1,
            "leader": false, "etcd": "voter", "version": "0.1.0", "since": null, "brake": null
        });
        machine.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        machine
    };
    let since = "2015-01-11T12:44:39.000Z";
    let brake = "2 of 3 nodes are silent at once: the fault is more likely the controller's, so nothing is replaced";
    json!([
        machine(1, json!({"leader": true})),
        machine(2, json!({"state": "silent", "suspected": true, "since": since, "brake": brake})),
        machine(3, json!({"state": "silent", "lost": true, "since": since})),
    ])
}

fn cluster() -> Value {
    let voter = |number: u64, error: Value| json!({"name": format!("n{number}"), "role": "voter", "healthy": error.is_null(), "error": error});
    json!({
        "leader": {"node": "n1"}, "settings": {"vips": ["10.64.231.100/24", "fd00::100/64"]},
        "etcd": {"healthy": true, "members": [
            voter(1, json!(null)), voter(2, json!(null)), voter(3, json!("the store cannot be reached: tcp connect error"))
        ]}
    })
}

fn certificates() -> Value {
    let certificate = |id: &str, names: Value, issuer: &str, until: &str, renew_at: Value| json!({"id": id, "names": names, "issuer": issuer, "default": false, "notAfter": until, "renewAt": renew_at});
    let next = "2026-02-03T04:10:06.000Z";
    json!({
        "certificates": [
            certificate("acme.shop.example", json!(["shop.example"]), "acme", "2999-03-01T00:00:00.000Z", json!("2999-02-01T00:00:00.000Z")),
            certificate("given.own", json!(["own.example", "www.own.example"]), "given", "2020-01-01T00:00:00.000Z", json!(null)),
        ],
        "names": [
            {"name": "shop.example", "state": "valid", "message": "", "failures": 0, "nextAt": null, "certificate": "acme.shop.example"},
            {"name": "a-long-name.of-a-department.cart.example", "state": "failed", "failures": 2, "nextAt": next, "certificate": null,
             "message": "the DNS of a-long-name.of-a-department.cart.example leads nowhere: NXDOMAIN"},
        ],
    })
}

fn router(controller: Controller) -> Router {
    async fn apps(State(controller): State<Controller>) -> Json<Value> {
        let belief = *controller.lock().unwrap();
        Json(json!({"apps": belief.map(app).into_iter().collect::<Vec<_>>()}))
    }
    async fn one(State(controller): State<Controller>) -> Json<Value> {
        let belief = controller.lock().unwrap().expect("the pages ask for an app that is listed");
        Json(json!({"app": app(belief)}))
    }
    async fn change(
        State(controller): State<Controller>,
        UrlPath(_): UrlPath<String>,
        Json(body): Json<Value>,
    ) -> Json<Value> {
        let mut belief = controller.lock().unwrap();
        if let (Some(belief), Some(instances)) = (belief.as_mut(), body["instances"].as_u64()) {
            belief.instances = instances;
        }
        Json(json!({"deploymentId": DEPLOYMENT}))
    }
    async fn destroy(State(controller): State<Controller>) -> Json<Value> {
        *controller.lock().unwrap() = None;
        Json(json!({"deploymentId": DEPLOYMENT}))
    }
    async fn versions() -> Json<Value> {
        Json(json!({"versions": ["2015-01-11T12:44:39.000Z", "2015-01-10T08:00:00.000Z"]}))
    }
    async fn deployments() -> Json<Value> {
        let action = |name| json!([{"action": name, "app": "/s3pics"}]);
        let steps = ["StartApplication", "ScaleApplication", "RestartApplication"].map(action);
        Json(json!([{"id": DEPLOYMENT, "affectedApps": ["/s3pics"], "currentStep": 2, "steps": steps}]))
    }
    async fn nodes(State(nodes): State<Arc<Mutex<Value>>>) -> Json<Value> {
        Json(nodes.lock().unwrap().clone())
    }
    async fn drain(State(nodes): State<Arc<Mutex<Value>>>, UrlPath(id): UrlPath<String>) -> Json<Value> {
        for node in nodes.lock().unwrap().as_array_mut().unwrap().iter_mut().filter(|node| node["id"] == id.as_str()) {
            node["draining"] = json!(true);
        }
        Json(json!({"id": id, "draining": true}))
    }
    let of_nodes = Router::new()
        .route("/v1/nodes", get(nodes))
        .route("/v1/nodes/{id}/drain", post(drain))
        .route("/v1/cluster", get(|| async { Json(cluster()) }))
        .route("/v1/certificates", get(|| async { Json(certificates()) }))
        .with_state(Arc::new(Mutex::new(machines())));
    Router::new()
        .route("/v2/apps", get(apps))
        .route("/v2/apps/{id}", put(change).get(one).delete(destroy))
        .route("/v2/apps/{id}/versions", get(versions))
        .route("/v2/deployments", get(deployments))
        .with_state(controller)
        .merge(of_nodes)
}

struct Story {
    controller: Controller,
    browser: Browser,
    url: String,
    stop: lifecycle::Stop,
}

impl Story {
    async fn begin() -> Self {
        let stop = lifecycle::Stop::new();
        let controller: Controller = Arc::new(Mutex::new(Some(Belief { instances: 1, running: 1 })));
        let listener = web::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(web::serve(listener, router(controller.clone()), web::Bounds::default(), stop.child()));
        let admin = Token::generate().unwrap();
        let config = console::Config {
            listen: ([127, 0, 0, 1], 0).into(),
            controller: base,
            credentials: web::Credentials::Bearer("console-token".into()),
            verifier: Verifier::Tokens(vec![admin.accepted_as(Role::Admin)]),
        };
        let started = console::start(config, stop.child()).await.unwrap();
        let url = format!("http://console.localhost:{}", started.address("").unwrap().port());
        tokio::spawn(started.finished());
        let browser = Browser::start().await.unwrap();
        let credentials = web::Credentials::Basic { user: "any".into(), password: admin.reveal().into() };
        let credentials = credentials.header().unwrap();
        browser.send_headers(json!({"Authorization": credentials.to_str().unwrap()})).await.unwrap();
        Self { controller, browser, url, stop }
    }

    fn believe(&self, instances: u64, running: u64) {
        *self.controller.lock().unwrap() = Some(Belief { instances, running });
    }

    async fn open(&self, path: &str) {
        self.browser.open(&format!("{}{path}", self.url)).await.unwrap();
    }

    async fn sees(&self, text: &str) {
        let text = json!(text);
        let expression = format!("document.querySelector('main').innerText.includes({text})");
        self.browser.wait(&text.to_string(), &expression, LIMIT).await.unwrap();
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        self.stop.request();
    }
}

fn artefact(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../artefacts/console").join(format!("{name}.png"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_follows_the_controller_and_scales_an_app() {
    let story = Story::begin().await;
    story.open("/").await;
    story.sees("1 / 1").await;
    // A reload would forget this.
    story.browser.script("window.same = true;", json!([])).await.unwrap();
    story.believe(20, 7);
    story.sees("7 / 20").await;
    story.sees("Deploying").await;
    story.believe(20, 20);
    story.sees("Running").await;
    assert_eq!(story.browser.script("return window.same;", json!([])).await.unwrap(), json!(true));

    story.open("/apps/s3pics").await;
    story.browser.script("document.querySelector('#instances').value = '';", json!([])).await.unwrap();
    story.browser.fill("#instances", "3").await.unwrap();
    story.browser.click(".scale button").await.unwrap();
    story.sees("20 of 3 tasks running").await;
    story.believe(3, 3);
    story.sees("3 of 3 tasks running").await;
    assert_eq!(story.browser.console_log().await.unwrap(), "", "no script failed and no policy was broken");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_without_scripts() {
    let story = Story::begin().await;
    story.browser.allow_scripts(false).await.unwrap();
    story.open("/").await;
    story.browser.click("a[href='/apps/s3pics']").await.unwrap();
    story.sees("1 of 1 tasks running").await;
    story.browser.click("a[href$='confirm=destroy']").await.unwrap();
    story.sees("Destroy /s3pics?").await;
    story.browser.click(".question button").await.unwrap();
    story.sees("No app runs yet.").await;
    assert!(story.controller.lock().unwrap().is_none());

    story.open("/nodes").await;
    story.browser.click("a[href='/nodes?confirm=drain&node=n1']").await.unwrap();
    story.sees("Drain n1?").await;
    story.browser.click(".question button").await.unwrap();
    story.sees("Draining").await;
}

/// Each page, light, dark and on a phone, kept for people to look at; none may be wider than a phone.
#[tokio::test(flavor = "multi_thread")]
async fn every_page_fits_a_phone() {
    let story = Story::begin().await;
    story.believe(5, 3);
    let pages = [
        ("apps", "/"),
        ("app", "/apps/s3pics"),
        ("configuration", "/apps/s3pics?tab=configuration"),
        ("versions", "/apps/s3pics?tab=versions"),
        ("confirm", "/apps/s3pics?confirm=destroy"),
        ("deployments", "/deployments"),
        ("nodes", "/nodes"),
        ("drain", "/nodes?confirm=drain&node=n1"),
        ("certificates", "/certificates"),
        ("not-found", "/nothing"),
    ];
    for (name, path) in pages {
        for (view, look) in [("desk", View::DESK), ("dark", View::DARK), ("phone", View::PHONE)] {
            story.browser.look(look).await.unwrap();
            story.open(path).await;
            let wide = "return document.documentElement.scrollWidth > window.innerWidth;";
            let wide = story.browser.script(wide, json!([])).await.unwrap();
            assert_eq!(wide, json!(false), "{name} is wider than its {view}");
            story.browser.screenshot(&artefact(&format!("{name}-{view}"))).await.unwrap();
        }
    }
}
