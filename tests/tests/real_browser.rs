//! The article's page in a real browser: `pics` signs, the browser talks to `objects` by itself.

use objects::Credential;
use s3client::CorsRule;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use story::pics_page::{Seen, upload_and_see};
use story::picture::random_png;
use story::webdriver::{Browser, View};
use tempfile::TempDir;

const ACCESS_KEY: &str = "denis@ad.forest";
const SECRET_KEY: &str = "a-secret-of-the-test";
const BUCKET: &str = "bucket1";
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Objects and pics in this process; both end with it.
struct Story {
    stop: lifecycle::Stop,
    page_url: String,
    directory: TempDir,
}

impl Story {
    /// `endpoint` makes the storage's public URL from its port.
    async fn begin(endpoint: impl Fn(u16) -> String, secret_key: &str, more_flags: &[&str]) -> Self {
        let stop = lifecycle::Stop::new();
        let directory = tempfile::tempdir().unwrap();
        let credential = Credential { access_key: ACCESS_KEY.into(), secret_key: SECRET_KEY.into(), buckets: None };
        let config = objects::Config {
            listen: LOOPBACK,
            data: directory.path().join("objects"),
            domains: vec!["s3.localhost".into()],
            credentials: vec![credential],
            open: false,
            metrics: None,
        };
        let objects = objects::start(config, stop.child()).await.unwrap().address("").unwrap();
        make_bucket(objects).await;

        let keys = [format!("-AccessKey={ACCESS_KEY}"), format!("-SecretKey={secret_key}")];
        let places = [format!("-EndPoint={}", endpoint(objects.port())), String::from("-listen=127.0.0.1:0")];
        let flags = keys.into_iter().chain(places).chain(more_flags.iter().map(|flag| (*flag).to_owned()));
        let started = pics::start(pics::Flags::parse(flags).unwrap().into(), stop.child()).await.unwrap();
        let page_url = format!("http://s3pics.localhost:{}/", started.address("").unwrap().port());
        tokio::spawn(started.finished());
        Self { stop, page_url, directory }
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
