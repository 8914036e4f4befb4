//! Against Debian's etcd by both of its APIs, on the author's mapping, compared with his tool's own output
//! (a recording of `mesos-vulcan`).

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use lifecycle::Stop;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use sync::{Error, Flags, Summary};
use tokio::net::TcpListener;
use web::{Client, full_body};

/// A named condition must hold within this time.
const DEADLINE: Duration = Duration::from_secs(20);

struct Etcd {
    process: Child,
    address: SocketAddr,
    _data: tempfile::TempDir,
}

impl Etcd {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let (address, peer) = (free_address().await, free_address().await);
        let (client_url, peer_url) = (format!("http://{address}"), format!("http://{peer}"));
        let process = Command::new("etcd")
            .args(["--enable-v2", "--name=n1", "--log-level=error", "--data-dir"])
            .arg(data.path())
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("n1={peer_url}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Debian's package etcd-server is installed");
        let etcd = Self { process, address, _data: data };
        let healthy = async || {
            let health = Client::default().get(&format!("http://{}/health", etcd.address)).await;
            health.is_ok_and(|health| health.body().as_ref() == br#"{"health":"true"}"#)
        };
        until("etcd is healthy", healthy).await;
        etcd
    }

    fn flag(&self, api: Api) -> String {
        match api {
            Api::V2 => format!("-EtcdEndPoint=http://{}/v2", self.address),
            Api::V3 => format!("--etcd=http://{}", self.address),
        }
    }

    async fn put(&self, api: Api, key: &str, value: &str) {
        match api {
            Api::V2 => {
                let url = format!("http://{}/v2/keys{key}", self.address);
                let form = form(value);
                let kind = Some("application/x-www-form-urlencoded");
                let answer = Client::default().call(http::Method::PUT, &url, kind, full_body(form)).await.unwrap();
                assert!(answer.status().is_success(), "{answer:?}");
            }
            Api::V3 => drop(self.ctl(&["put", key, value])),
        }
    }

    /// The servers of backend b1: names and values, sorted.
    async fn servers(&self, api: Api) -> Vec<(String, String)> {
        let mut servers = match api {
            Api::V2 => {
                let url = format!("http://{}/v2/keys/vulcand/backends/b1/servers", self.address);
                let answer = Client::default().get(&url).await.unwrap();
                let document: Value = serde_json::from_slice(answer.body()).unwrap();
                let nodes = document["node"]["nodes"].as_array().cloned().unwrap_or_default();
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                nodes.iter().map(|node| (text(&node["key"]), text(&node["value"]))).collect()
            }
            Api::V3 => {
                let lines = self.ctl(&["get", "--prefix", "/vulcand/backends/b1/servers/"]);
                let lines: Vec<&str> = lines.lines().collect();
                lines.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect::<Vec<_>>()
            }
        };
        servers.sort();
        servers
    }

    fn ctl(&self, arguments: &[&str]) -> String {
        let endpoint = format!("--endpoints=http://{}", self.address);
        let output = Command::new("etcdctl").env("ETCDCTL_API", "3").arg(endpoint).args(arguments).output();
        let output = output.expect("Debian's package etcd-client is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.process.kill().expect("etcd can be ended");
        self.process.wait().expect("etcd has ended");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    V2,
    V3,
}

fn form(value: &str) -> String {
    let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("value={encoded}")
}

async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn until(condition: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < DEADLINE, "within {DEADLINE:?}: {condition}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A Marathon of which the test says what it answers.
#[derive(Clone)]
struct Marathon {
    answers: Arc<Mutex<Answers>>,
    address: SocketAddr,
    stop: Stop,
}

#[derive(Clone, Default)]
struct Answers {
    /// Endpoints of /s3pics; `None`: there is no such app.
    s3pics: Option<Vec<(&'static str, u16)>>,
    /// Instances asked for, where it is not the number of endpoints.
    instances: Option<usize>,
    /// Answers everything.
    instead: Option<(u16, &'static str)>,
    /// Answers for the app; the list stays well-formed.
    app_instead: Option<(u16, &'static str)>,
    requests: Vec<String>,
}

impl Marathon {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let marathon = Self { answers: Arc::default(), address, stop: Stop::new() };
        let router = Router::new().fallback(answer).with_state(marathon.clone());
        tokio::spawn(web::serve(listener, router, web::Bounds::default(), marathon.stop.clone()));
        marathon
    }

    fn set(&self, change: impl FnOnce(&mut Answers)) {
        change(&mut self.answers.lock().unwrap());
    }

    fn runs(&self, endpoints: &[(&'static str, u16)]) {
        self.set(|answers| *answers = Answers { s3pics: Some(endpoints.to_vec()), ..Answers::default() });
    }

    fn flag(&self) -> String {
        format!("-MarathonEndPoint=http://{}/v2/apps", self.address)
    }
}

async fn answer(State(marathon): State<Marathon>, request: axum::extract::Request) -> Response {
    let path = request.uri().path().to_owned();
    let mut answers = marathon.answers.lock().unwrap();
    answers.requests.push(path.clone());
    if let Some((status, body)) = answers.instead {
        return (StatusCode::from_u16(status).unwrap(), body).into_response();
    }
    let json = |status: StatusCode, value: Value| (status, [("content-type", "application/json")], value.to_string());
    let s3pics = answers.s3pics.as_ref().map(|endpoints| {
        let tasks: Vec<Value> = endpoints
            .iter()
            .map(|(host, port)| {
                json!({ "host": host, "ports": [port], "startedAt": "2015-01-11T12:44:48.000Z",
                    "healthCheckResults": [{ "alive": true }] })
            })
            .collect();
        let instances = answers.instances.unwrap_or(tasks.len());
        json!({ "id": "/s3pics", "instances": instances, "healthChecks": [{}], "tasks": tasks })
    });
    if let (Some((status, body)), "/v2/apps/s3pics") = (answers.app_instead, path.as_str()) {
        return (StatusCode::from_u16(status).unwrap(), body).into_response();
    }
    match path.trim_end_matches('/') {
        "/v2/apps" => {
            let apps: Vec<Value> = s3pics.into_iter().chain([json!({ "id": "/other" })]).collect();
            json(StatusCode::OK, json!({ "apps": apps })).into_response()
        }
        "/v2/apps/s3pics" => match s3pics {
            Some(app) => json(StatusCode::OK, json!({ "app": app })).into_response(),
            None => json(StatusCode::NOT_FOUND, json!({ "message": "App '/s3pics' does not exist" })).into_response(),
        },
        _ => json(StatusCode::NOT_FOUND, json!({ "message": "URI not found" })).into_response(),
    }
}

/// Etcd with the author's mapping, and a Marathon.
struct Scene {
    etcd: Etcd,
    marathon: Marathon,
    api: Api,
}

impl Scene {
    async fn set(api: Api) -> Self {
        let (etcd, marathon) = (Etcd::start().await, Marathon::start().await);
        etcd.put(api, "/mesos-vulcan/s3pics/frontend", "f1").await;
        etcd.put(api, "/mesos-vulcan/s3pics/backend", "b1").await;
        Self { etcd, marathon, api }
    }

    async fn run(&self, more: &[&str]) -> (Result<Summary, Error>, Vec<String>) {
        let arguments = [self.marathon.flag(), self.etcd.flag(self.api), "-EtcdRootKey=/mesos-vulcan".into()];
        let arguments = arguments.into_iter().chain(more.iter().map(|flag| (*flag).to_owned()));
        let mut output = Vec::new();
        let result = sync::run(Flags::parse(arguments).unwrap(), &mut output, Stop::new()).await;
        (result, String::from_utf8(output).unwrap().lines().map(str::to_owned).collect())
    }

    async fn names(&self) -> Vec<String> {
        let servers = self.etcd.servers(self.api).await;
        servers.iter().map(|(key, _)| key.rsplit('/').next().unwrap().to_owned()).collect()
    }
}

/// The original's words for one server of s3pics.
fn put_line(server: &str) -> String {
    let url = server.replace("-3", ":3");
    format!(
        "Marathon App /s3pics: Key /keys/vulcand/backends/b1/servers/{server} created or updated in ETCD with the value \
         value={{\"Id\":\"{server}\",\"URL\":\"http://{url}\"}} for the frontend f1"
    )
}

const OTHER: &str = "ETCD frontend and backend keys corresponding to the marathon App with the ID /other aren't configured \
                     properly. Can't configure the Vulcan servers for this application";
const STILL: &str =
    "Marathon App s3pics: The container running on coreos1.ad.forest and listening on port 31000 is still running";
const STILL_TOO: &str =
    "Marathon App s3pics: The container running on coreos3.ad.forest and listening on port 31002 is still running";
const GONE: &str = "Marathon App s3pics: The container running on coreos3.ad.forest and listening on port 31002 isn't running \
                    anymore and the corresponding vulcan server has been deleted";

const ONE: (&str, u16) = ("coreos1.ad.forest", 31000);
const TWO: (&str, u16) = ("coreos3.ad.forest", 31002);

/// Runs 1 to 3 of the recording, line by line, then its runs 4 and 5, in which the original lost every server.
async fn the_recording(api: Api) {
    let scene = Scene::set(api).await;
    let (one, two) = (put_line("coreos1.ad.forest-31000"), put_line("coreos3.ad.forest-31002"));
    scene.marathon.runs(&[ONE, TWO]);
    let (result, lines) = scene.run(&[]).await;
    assert_eq!(result.unwrap(), Summary { added: 2, removed: 0, failed: 0 });
    assert_eq!(lines, [one.as_str(), &two, OTHER]);
    let expected = r#"{"Id":"coreos1.ad.forest-31000","URL":"http://coreos1.ad.forest:31000"}"#;
    let stored = scene.etcd.servers(api).await;
    assert_eq!(stored[0], ("/vulcand/backends/b1/servers/coreos1.ad.forest-31000".to_owned(), expected.to_owned()));

    let (result, lines) = scene.run(&[]).await;
    assert_eq!(result.unwrap(), Summary::default());
    let again = ["coreos1.ad.forest 31000", STILL, "coreos3.ad.forest 31002", STILL_TOO, &one, &two, OTHER];
    assert_eq!(lines, again);

    scene.marathon.runs(&[ONE]);
    let (result, lines) = scene.run(&[]).await;
    assert_eq!(result.unwrap(), Summary { added: 0, removed: 1, failed: 0 });
    assert_eq!(lines, ["coreos1.ad.forest 31000", STILL, "coreos3.ad.forest 31002", GONE, &one, OTHER]);
    assert_eq!(scene.names().await, ["coreos1.ad.forest-31000"]);

    for instead in [(500, r#"{"message":"boom"}"#), (200, r#"{"message":"boom"}"#), (200, "<html>"), (404, "{}")] {
        scene.marathon.set(|answers| answers.instead = Some(instead));
        let (result, lines) = scene.run(&[]).await;
        assert!(matches!(result, Err(Error::Marathon(_))), "{instead:?}");
        assert_eq!((lines.len(), scene.names().await.len()), (0, 1), "{instead:?}");
    }
    scene.marathon.set(|answers| answers.instead = None);
    for instead in [(500, r#"{"message":"boom"}"#), (200, "{}"), (200, "<html>"), (404, r#"{"message":"gone"}"#)] {
        scene.marathon.set(|answers| answers.app_instead = Some(instead));
        let (result, lines) = scene.run(&[]).await;
        assert_eq!(result.unwrap(), Summary::default(), "{instead:?}");
        assert_eq!((lines, scene.names().await.len()), (vec![OTHER.to_owned()], 1), "{instead:?}");
    }
    scene.marathon.stop.request();
    until("nobody listens", async || tokio::net::TcpStream::connect(scene.marathon.address).await.is_err()).await;
    assert!(matches!(scene.run(&[]).await.0, Err(Error::Marathon(_))));
    assert_eq!(scene.names().await, ["coreos1.ad.forest-31000"]);
}

#[tokio::test]
async fn the_recording_is_repeated_on_v2_and_nothing_is_lost() {
    the_recording(Api::V2).await;
}

#[tokio::test]
async fn the_recording_is_repeated_on_v3_and_nothing_is_lost() {
    the_recording(Api::V3).await;
}

async fn absence_and_zero(api: Api) {
    let scene = Scene::set(api).await;
    scene.marathon.runs(&[ONE, TWO]);
    scene.run(&[]).await.0.unwrap();
    // One answer without tasks is no proof: the second read, a second later, has them again.
    scene.marathon.set(|answers| {
        answers.s3pics = Some(Vec::new());
        answers.instances = Some(2);
    });
    scene.marathon.set(|answers| answers.requests.clear());
    let restore = async {
        let requests = || scene.marathon.answers.lock().unwrap().requests.clone();
        until("the first read was answered", async || requests().iter().any(|path| path == "/v2/apps/s3pics")).await;
        scene.marathon.set(|answers| answers.s3pics = Some(vec![ONE, TWO]));
    };
    let ((result, _), ()) = tokio::join!(scene.run(&[]), restore);
    assert_eq!(result.unwrap().removed, 0);
    assert_eq!(scene.names().await.len(), 2);

    scene.marathon.runs(&[]);
    assert_eq!(scene.run(&[]).await.0.unwrap().removed, 2, "scaled to 0: believed at once");
    scene.marathon.runs(&[ONE]);
    scene.run(&[]).await.0.unwrap();
    scene.marathon.set(|answers| answers.s3pics = None);
    assert_eq!(scene.run(&[]).await.0.unwrap().removed, 1, "the app is gone: two reads agree");
    assert!(scene.names().await.is_empty());
}

#[tokio::test]
async fn absence_is_read_twice_and_zero_believed_on_v2() {
    absence_and_zero(Api::V2).await;
}

#[tokio::test]
async fn absence_is_read_twice_and_zero_believed_on_v3() {
    absence_and_zero(Api::V3).await;
}

async fn dry_run(api: Api) {
    let scene = Scene::set(api).await;
    let key = |name: &str| format!("/vulcand/backends/b1/servers/{name}");
    scene.etcd.put(api, &key("coreos1.ad.forest-31000"), "old").await;
    scene.etcd.put(api, &key("coreos9.ad.forest-31009"), "gone").await;
    scene.etcd.put(api, &key("by-hand"), "kept").await;
    // Its app is absent, which is in doubt until it was read twice: what is certain is printed once all the same.
    scene.etcd.put(api, "/mesos-vulcan/absent/frontend", "f9").await;
    scene.etcd.put(api, "/mesos-vulcan/absent/backend", "b9").await;
    scene.marathon.runs(&[ONE, TWO]);
    let before = scene.etcd.servers(api).await;
    let (result, lines) = scene.run(&["--dry-run"]).await;
    assert_eq!(result.unwrap(), Summary { added: 2, removed: 1, failed: 0 });
    let value = |host: &str, port: u16| format!(r#"{{"Id":"{host}-{port}","URL":"http://{host}:{port}"}}"#);
    let expected = [
        "- /vulcand/backends/b1/servers/coreos9.ad.forest-31009 gone".to_owned(),
        "- /vulcand/backends/b1/servers/coreos1.ad.forest-31000 old".to_owned(),
        format!("+ /vulcand/backends/b1/servers/coreos1.ad.forest-31000 {}", value(ONE.0, ONE.1)),
        format!("+ /vulcand/backends/b1/servers/coreos3.ad.forest-31002 {}", value(TWO.0, TWO.1)),
    ];
    assert_eq!(lines, expected);
    assert_eq!(scene.etcd.servers(api).await, before, "nothing was changed");
}

#[tokio::test]
async fn a_dry_run_prints_a_diff_and_changes_nothing_on_v2() {
    dry_run(Api::V2).await;
}

#[tokio::test]
async fn a_dry_run_prints_a_diff_and_changes_nothing_on_v3() {
    dry_run(Api::V3).await;
}

async fn watch(api: Api) {
    let scene = Arc::new(Scene::set(api).await);
    scene.marathon.runs(&[ONE]);
    let stop = Stop::new();
    let arguments = [scene.marathon.flag(), scene.etcd.flag(api), "--watch".to_owned()];
    let (flags, end) = (Flags::parse(arguments).unwrap(), stop.clone());
    let (sender, done) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut output = Vec::new();
        let result = runtime.block_on(sync::run(flags, &mut output, end));
        sender.send((result, String::from_utf8(output).unwrap())).expect("the test waits");
    });
    until("the server was added", async || scene.names().await == ["coreos1.ad.forest-31000"]).await;
    scene.marathon.runs(&[TWO]);
    until("the server was replaced", async || scene.names().await == ["coreos3.ad.forest-31002"]).await;
    scene.marathon.set(|answers| answers.instead = Some((500, "boom")));
    stop.request();
    let (result, output) = done.await.unwrap();
    assert_eq!(result.unwrap(), Summary { added: 2, removed: 1, failed: 0 });
    assert!(!output.contains("still running"), "only changes are told: {output}");
}

#[tokio::test]
async fn a_watch_follows_on_v2() {
    watch(Api::V2).await;
}

#[tokio::test]
async fn a_watch_follows_on_v3() {
    watch(Api::V3).await;
}
