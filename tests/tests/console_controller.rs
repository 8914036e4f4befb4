//! The console before the real controller: each page reads what the controller writes, each form does what it says, and
//! a viewer's does not.

#[path = "console_controller/machines.rs"]
mod machines;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use http::{Method, Request};
use identity::{Authority, Role};
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;
use web::Credentials;

struct Platform {
    authority: Authority,
    controller: String,
    console: String,
    stop: lifecycle::Stop,
    _store: TempDir,
}

impl Platform {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(store::Embedded::open(directory.path().to_owned()).await.unwrap());
        Self::on(directory, store, None).await
    }

    async fn on(directory: TempDir, store: Arc<dyn store::Store>, cluster: Option<controller::Cluster>) -> Self {
        let stop = lifecycle::Stop::new();
        let authority = Authority::generate().unwrap();
        let verifier = authority.identity(Role::Controller).verifier();
        let config = controller::Config { cluster, ..controller::Config::new(store, verifier) };
        let started = controller::start(config, stop.child()).await.unwrap();
        let controller = format!("http://{}", started.address("").unwrap());
        tokio::spawn(started.finished());
        let config = console::Config {
            listen: ([127, 0, 0, 1], 0).into(),
            controller: controller.clone(),
            credentials: Credentials::Bearer(authority.token(Role::Console).reveal().into()),
            verifier: authority.identity(Role::Console).verifier(),
        };
        let started = console::start(config, stop.child()).await.unwrap();
        let console = format!("http://{}", started.address("").unwrap());
        tokio::spawn(started.finished());
        Self { authority, controller, console, stop, _store: directory }
    }

    fn credentials(&self, role: Role) -> HeaderValue {
        Credentials::Basic { user: "any".into(), password: self.authority.token(role).reveal().into() }
            .header()
            .unwrap()
    }

    /// Posts the article's app, without a node to run on.
    async fn post_app(&self) {
        let app = json!({
            "id": "s3pics", "cmd": "./s3pics", "cpus": 0.1, "mem": 64.0, "instances": 1,
            "container": {"type": "DOCKER", "docker": {
                "image": "registry.test/s3pics:2.0", "network": "BRIDGE",
                "portMappings": [{"containerPort": 8080, "hostPort": 0, "protocol": "tcp"}]
            }}
        });
        let admin = Credentials::Bearer(self.authority.token(Role::Admin).reveal().into());
        let url = format!("{}/v2/apps", self.controller);
        let created: Value = web::Client::new(admin).send_json(Method::POST, &url, &app).await.unwrap();
        assert_eq!(created["id"], "/s3pics");
    }

    /// Status and page.
    async fn get(&self, path: &str) -> (u16, String) {
        let request =
            Request::get(format!("{}{path}", self.console)).header(AUTHORIZATION, self.credentials(Role::Viewer));
        fetch(request.body(web::empty_body()).unwrap()).await
    }

    async fn submit(&self, role: Role, path: &str, form: &str) -> (u16, String) {
        let host = self.console.trim_start_matches("http://");
        let request = Request::post(format!("{}{path}", self.console))
            .header(AUTHORIZATION, self.credentials(role))
            .header(HOST, host)
            .header(ORIGIN, &self.console)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        fetch(request.body(web::full_body(form.to_owned())).unwrap()).await
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.stop.request();
    }
}

async fn fetch(request: Request<web::Body>) -> (u16, String) {
    let answer = web::Client::default().fetch(request).await.unwrap();
    (answer.status().as_u16(), String::from_utf8(answer.body().to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_reads_what_the_controller_writes() {
    let platform = Platform::start().await;
    let (status, page) = platform.get("/").await;
    assert!(status == 200 && page.contains("No app runs yet."), "{status} {page}");
    platform.post_app().await;
    for (path, texts) in [
        ("/", ["href=\"/apps/s3pics\"", "0 / 1", "Waiting"]),
        ("/apps/s3pics", ["http://s3pics.localhost/", "is changing this app", "0 of 1 tasks running"]),
        (
            "/apps/s3pics?tab=configuration",
            ["registry.test/s3pics:2.0", "&quot;containerPort&quot;: 8080", "Configuration"],
        ),
        ("/apps/s3pics?tab=versions", ["current", "Versions", "<time"]),
        ("/deployments", ["href=\"/apps/s3pics\"", "class=\"now\"", " of 2 · version"]),
        ("/nodes", ["No node has joined.", "Nodes", "signed in as viewer"]),
        ("/certificates", ["No app asks for a certificate", "Certificates", "signed in as viewer"]),
    ] {
        let (status, page) = platform.get(path).await;
        assert_eq!(status, 200, "{path}: {page}");
        for text in texts {
            assert!(page.contains(text), "{path} lacks {text}: {page}");
        }
    }
    let (status, page) = platform.get("/apps/missing").await;
    assert!(status == 404 && page.contains("App '/missing' does not exist"), "{status} {page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_cannot_scale_and_an_admin_can() {
    let platform = Platform::start().await;
    platform.post_app().await;
    let scale = "action=scale&instances=3&force=true";
    let (status, page) = platform.submit(Role::Viewer, "/apps/s3pics", scale).await;
    assert!(status == 403 && page.contains("role viewer may not PUT /v2/apps/s3pics"), "{status} {page}");
    let (status, page) = platform.submit(Role::Admin, "/apps/s3pics", scale).await;
    assert_eq!(status, 303, "{page}");
    assert!(platform.get("/").await.1.contains("0 / 3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_app_is_said_to_be_and_can_be_forced() {
    let platform = Platform::start().await;
    platform.post_app().await;
    // The deployment that starts the app waits for a node, and holds the app.
    let (status, page) = platform.submit(Role::Admin, "/apps/s3pics", "action=scale&instances=2").await;
    assert!(status == 409 && page.contains("App is locked"), "{status} {page}");
    assert!(page.contains("name=\"force\" value=\"true\""), "{page}");
    let (status, page) = platform.submit(Role::Admin, "/apps/s3pics", "action=destroy&force=true").await;
    assert_eq!(status, 303, "{page}");
    assert!(platform.get("/").await.1.contains("No app runs yet."));
}
