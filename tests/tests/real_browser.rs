//! The article's page in a real browser: `pics` signs, the browser talks to `objects` by itself.

use objects::Credential;
use routing::BalanceSpec;
use routing::document::{ROUTES_PREFIX, RouteDocument, RouteServer};
use s3client::CorsRule;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;
use story::pics_page::{Seen, upload_and_see};
use story::picture::random_png;
use story::webdriver::{Browser, View};
use tempfile::TempDir;

const ACCESS_KEY: &str = "denis@ad.forest";
const SECRET_KEY: &str = "a-secret-of-the-test";
const BUCKET: &str = "bucket1";
/// What signing one picture may send to the application.
const APP_BYTES_MAX: u64 = 64 << 10;
const ROUTED_LIMIT: Duration = Duration::from_secs(10);
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Objects and pics, and an edge if asked for, in this process; they end with it.
struct Story {
    stop: lifecycle::Stop,
    page_url: String,
    /// The edge's `/metrics`.
    metrics_url: Option<String>,
    directory: TempDir,
}

impl Story {
    /// `endpoint` makes the storage's public URL from its port.
    async fn begin(endpoint: impl Fn(u16) -> String, secret_key: &str, more_flags: &[&str]) -> Self {
        let stop = lifecycle::Stop::new();
        let directory = tempfile::tempdir().unwrap();
        let objects = start_objects(&directory, &stop).await;
        let pics = start_pics(&endpoint(objects.port()), secret_key, more_flags, &stop).await;
        let page_url = format!("http://s3pics.localhost:{}/", pics.port());
        Self { stop, page_url, metrics_url: None, directory }
    }

    /// Everything on the edge's port, as in the article: the page by its name, the storage and its buckets by theirs.
    async fn begin_behind_edge() -> Self {
        let stop = lifecycle::Stop::new();
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(store::Embedded::open(directory.path().join("store")).await.unwrap());
        let config = edge::Config {
            listen: vec![LOOPBACK],
            listen_tls: Vec::new(),
            seal_key: None,
            proxies: Vec::new(),
            api: Some(LOOPBACK),
            store: store.clone(),
            controllers: Vec::new(),
            data: None,
            token: None,
            tls: None,
            verifier: identity::Verifier::Open,
            edge_id: "edge".into(),
            node_id: String::new(),
            client_times: edge::ClientTimes::default(),
            vulcand: edge::Vulcand::default(),
            observation: edge::Observation::default(),
            take_over: false,
            drain: edge::Drain::default(),
        };
        let edge = edge::start(config, stop.child()).await.unwrap();
        let (port, api) = (edge.address("").unwrap().port(), edge.address("api").unwrap());
        tokio::spawn(edge.finished());
        let objects = start_objects(&directory, &stop).await;
        let pics = start_pics(&format!("http://s3.localhost:{port}"), SECRET_KEY, &[], &stop).await;
        put_route(&*store, "s3pics", "Host(`s3pics.localhost`)", pics).await;
        put_route(&*store, "s3-buckets", r"HostRegexp(`^.+\.s3\.localhost$`)", objects).await;
        let metrics_url = Some(format!("http://{api}/metrics"));
        let story = Self { stop, page_url: format!("http://s3pics.localhost:{port}/"), metrics_url, directory };
        story.until_routed(port).await;
        story
    }

    async fn until_routed(&self, port: u16) {
        let started = Instant::now();
        loop {
            let request = http::Request::get(format!("http://127.0.0.1:{port}/")).header("host", "s3pics.localhost");
            let answer = web::Client::default().fetch(request.body(web::empty_body()).unwrap()).await.unwrap();
            if answer.status().is_success() {
                return;
            }
            assert!(started.elapsed() < ROUTED_LIMIT, "the edge does not route the page: {}", answer.status());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Bytes the edge has sent to a route's servers.
    async fn bytes_into(&self, route: &str) -> u64 {
        let url = self.metrics_url.as_deref().unwrap();
        let answer = web::Client::default().get(url).await.unwrap();
        let text = String::from_utf8(answer.body().to_vec()).unwrap();
        let series = format!("edge_route_request_bytes_total{{route=\"{route}\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&series));
        value.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
    }

    fn picture(&self, name: &str, width: u32, height: u32) -> (PathBuf, String) {
        let bytes = random_png(width, height);
        let path = self.directory.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        (path, hex::encode(Sha256::digest(&bytes)))
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        self.stop.request();
    }
}

async fn start_objects(directory: &TempDir, stop: &lifecycle::Stop) -> SocketAddr {
    let credential = Credential { access_key: ACCESS_KEY.into(), secret_key: SECRET_KEY.into(), buckets: None };
    let config = objects::Config {
        listen: LOOPBACK,
        data: directory.path().join("objects"),
        domains: vec!["s3.localhost".into()],
        credentials: vec![credential],
        open: false,
        metrics: None,
    };
    let started = objects::start(config, stop.child()).await.unwrap();
    let address = started.address("").unwrap();
    tokio::spawn(started.finished());
    make_bucket(address).await;
    address
}

async fn start_pics(endpoint: &str, secret_key: &str, more_flags: &[&str], stop: &lifecycle::Stop) -> SocketAddr {
    let keys = [format!("-AccessKey={ACCESS_KEY}"), format!("-SecretKey={secret_key}")];
    let places = [format!("-EndPoint={endpoint}"), String::from("-listen=127.0.0.1:0")];
    let flags = keys.into_iter().chain(places).chain(more_flags.iter().map(|flag| (*flag).to_owned()));
    let started = pics::start(pics::Flags::parse(flags).unwrap().into(), stop.child()).await.unwrap();
    let address = started.address("").unwrap();
    tokio::spawn(started.finished());
    address
}

async fn put_route(store: &dyn Store, id: &str, rule: &str, server: SocketAddr) {
    let server = RouteServer { id: id.into(), url: format!("http://{server}"), weight: 1 };
    let route = RouteDocument {
        v: 0,
        rule: rule.into(),
        priority: None,
        servers: vec![server],
        pass_host_header: true,
        failover_predicate: String::new(),
        app: None,
        middlewares: vec![],
        balance: BalanceSpec::default(),
        server_tls: routing::ServerTls::default(),
        tcp: None,
        send_proxy: None,
    };
    store.put(&format!("{ROUTES_PREFIX}{id}"), serde_json::to_vec(&route).unwrap().into()).await.unwrap();
}

/// The bucket and the rules that let a page of another origin use it, made by signed requests.
async fn make_bucket(objects: SocketAddr) {
    let client = s3client::Client::new(s3client::Config {
        endpoint: format!("http://{objects}"),
        access_key: ACCESS_KEY.into(),
        secret_key: SECRET_KEY.into(),
        region: "us-east-1".into(),
    });
    let client = client.unwrap();
    client.create_bucket(BUCKET).await.unwrap();
    let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let rule = CorsRule {
        allowed_origins: all(&["*"]),
        allowed_methods: all(&["GET", "PUT", "POST", "DELETE"]),
        allowed_headers: all(&["*"]),
        expose_headers: all(&["ETag"]),
        max_age_seconds: Some(3600),
    };
    client.put_bucket_cors(BUCKET, &[rule]).await.unwrap();
}

fn artefact(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../artefacts/browser").join(format!("{name}.png"))
}

fn virtual_hosted(port: u16) -> String {
    format!("http://s3.localhost:{port}")
}

fn path_style(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// A small picture in one PUT and a large one in parts, both seen with the very bytes that were uploaded.
async fn a_small_and_a_large_picture(name: &str, endpoint: impl Fn(u16) -> String, flags: &[&str]) {
    let story = Story::begin(endpoint, SECRET_KEY, flags).await;
    let browser = Browser::start().await.unwrap();
    browser.look(View::DESK).await.unwrap();

    let (file, sha256) = story.picture("small.png", 320, 240);
    let small = upload_and_see(&browser, &story.page_url, BUCKET, &file).await.unwrap();
    assert_eq!((small.natural_width, small.sha256.as_str()), (320, sha256.as_str()));
    assert_eq!(methods(&small), ["PUT", "GET"], "one PUT and the listing: {small:#?}");
    browser.screenshot(&artefact(&format!("{name}-small"))).await.unwrap();

    // 12 MiB of pixels that nothing can compress: three parts.
    let (file, sha256) = story.picture("large.png", 2048, 2048);
    let large = upload_and_see(&browser, &story.page_url, BUCKET, &file).await.unwrap();
    assert_eq!((large.natural_width, large.sha256.as_str()), (2048, sha256.as_str()));
    assert_eq!(methods(&large), ["POST", "PUT", "PUT", "PUT", "POST", "GET"], "{large:#?}");
    assert_ne!(small.key, large.key);
    browser.click("#requests summary").await.unwrap();
    for (view, look) in [("desk", View::DESK), ("dark", View::DARK), ("phone", View::PHONE)] {
        browser.look(look).await.unwrap();
        browser.screenshot(&artefact(&format!("{name}-{view}"))).await.unwrap();
    }
    assert_eq!(browser.console_log().await.unwrap(), "", "nothing failed and the policy was not broken");
}

fn methods(seen: &Seen) -> Vec<&str> {
    seen.requests.iter().filter_map(|line| line.split(' ').next()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_go_straight_to_the_storage_with_signature_v4() {
    a_small_and_a_large_picture("v4", virtual_hosted, &["--signature", "v4"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_go_straight_to_the_storage_with_the_articles_signature_v2() {
    a_small_and_a_large_picture("v2", virtual_hosted, &["--signature", "v2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_go_straight_to_the_storage_by_path_style() {
    a_small_and_a_large_picture("path", path_style, &[]).await;
}

/// The article's point: the application is not in the data path, and the proxy's counters show it.
#[tokio::test(flavor = "multi_thread")]
async fn through_the_edge_a_pictures_bytes_reach_the_storage_and_not_the_application() {
    let story = Story::begin_behind_edge().await;
    let browser = Browser::start().await.unwrap();
    browser.look(View::DESK).await.unwrap();
    let (file, sha256) = story.picture("large.png", 2048, 2048);
    let picture_bytes = std::fs::metadata(&file).unwrap().len();
    let seen = upload_and_see(&browser, &story.page_url, BUCKET, &file).await.unwrap();
    assert_eq!((seen.natural_width, seen.sha256.as_str()), (2048, sha256.as_str()));
    let (storage_bytes, app_bytes) = (story.bytes_into("s3-buckets").await, story.bytes_into("s3pics").await);
    assert!(storage_bytes >= picture_bytes, "{storage_bytes} bytes into the storage of {picture_bytes}");
    assert!(app_bytes < APP_BYTES_MAX, "{app_bytes} bytes into the application");
    browser.screenshot(&artefact("edge")).await.unwrap();
    assert_eq!(browser.console_log().await.unwrap(), "", "nothing failed and the policy was not broken");
}

/// The storage's refusal reaches the page, which needs CORS headers on errors, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_says_why() {
    let story = Story::begin(virtual_hosted, "another-secret", &[]).await;
    let browser = Browser::start().await.unwrap();
    let (file, _) = story.picture("small.png", 16, 16);
    let error = upload_and_see(&browser, &story.page_url, BUCKET, &file).await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains("Upload failed: SignatureDoesNotMatch"), "{error}");
    browser.screenshot(&artefact("refused")).await.unwrap();
}
