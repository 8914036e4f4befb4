//! The platform of the demo and the clients of its public interfaces.

use super::metrics::EdgeMetrics;
use crate::config::Config;
use crate::up::{Addresses, Platform};
use anyhow::{Context, bail};
use http::{Method, Request, Response, header};
use identity::{Authority, Role};
use lifecycle::Stop;
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use web::{Client, Credentials};

/// The app's public name.
pub const APP_HOST: &str = "s3pics.localhost";
/// The bucket pictures go to, as in the article.
pub const BUCKET: &str = "bucket1";

/// How often a condition is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How often the route is looked at while the story goes on.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);
/// Tasks must be gone this soon after their app.
const CLEAR_TIMEOUT: Duration = Duration::from_secs(60);

pub struct Stage {
    platform: Platform,
    authority: Authority,
    admin: Client,
    anyone: Client,
    stop: Stop,
    /// The most servers of the app's route that were seen at once.
    routed_max: AtomicU64,
}

impl Stage {
    pub async fn set(config: Config, authority: Authority, stop: &Stop) -> anyhow::Result<Self> {
        let stop = stop.child();
        let platform = Platform::start(config, &authority, &stop).await?;
        let admin = Client::new(Credentials::Bearer(authority.token(Role::Admin).reveal().to_owned()));
        Ok(Self { platform, authority, admin, anyone: Client::default(), stop, routed_max: AtomicU64::new(0) })
    }

    pub fn addresses(&self) -> &Addresses {
        self.platform.addresses()
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Asks Marathon's API, as the administrator.
    pub async fn marathon(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let uri = format!("http://{}{path}", self.addresses().controller);
        let (content_type, body) = match body {
            Some(body) => (Some("application/json"), web::full_body(serde_json::to_vec(body)?)),
            None => (None, web::empty_body()),
        };
        let response = self.admin.call(method.clone(), &uri, content_type, body).await?;
        let text = String::from_utf8_lossy(response.body());
        if !response.status().is_success() {
            bail!("{method} {path} answered {}: {text}", response.status());
        }
        serde_json::from_str(&text).with_context(|| format!("{method} {path} did not answer JSON"))
    }

    /// `GET`, with the status of the answer beside it.
    pub async fn marathon_app(&self, id: &str) -> anyhow::Result<Value> {
        let mut answer = self.marathon(Method::GET, &format!("/v2/apps{id}"), None).await?;
        Ok(answer["app"].take())
    }

    /// Asks the edge under a public name, as anyone.
    pub async fn visit(&self, host: &str, mut request: Request<web::Body>) -> anyhow::Result<Response<bytes::Bytes>> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        *request.uri_mut() = format!("http://{}{path}", self.addresses().edge).parse()?;
        request.headers_mut().insert(header::HOST, host.parse()?);
        Ok(self.anyone.fetch(request).await?)
    }

    pub async fn edge_metrics(&self) -> anyhow::Result<EdgeMetrics> {
        let uri = format!("http://{}/metrics", self.addresses().edge_api);
        let response = self.admin.get(&uri).await?;
        anyhow::ensure!(response.status().is_success(), "{uri} answered {}", response.status());
        Ok(EdgeMetrics::parse(&String::from_utf8_lossy(response.body())))
    }

    /// How many servers of the app's route the edge has.
    pub async fn routed(&self) -> anyhow::Result<u64> {
        let uri = format!("http://{}/routes", self.addresses().edge_api);
        let answer: Value = self.admin.get_json(&uri).await?;
        let routes = answer["routes"].as_array().or(answer.as_array()).cloned().unwrap_or_default();
        let of_app = |route: &&Value| route["rule"].as_str().is_some_and(|rule| rule.contains(APP_HOST));
        let servers = routes.iter().find(of_app).and_then(|route| route["servers"].as_array().map(Vec::len));
        let servers = servers.unwrap_or(0) as u64;
        self.routed_max.fetch_max(servers, Ordering::Relaxed);
        Ok(servers)
    }

    pub fn routed_max(&self) -> u64 {
        self.routed_max.load(Ordering::Relaxed)
    }

    /// Looks at the app's route again and again while `work` goes on, so that [`Stage::routed_max`] misses little.
    pub async fn watching_route<T>(&self, work: impl Future<Output = T>) -> T {
        let watch = async {
            let mut ticks = tokio::time::interval(WATCH_INTERVAL);
            loop {
                ticks.tick().await;
                if let Err(error) = self.routed().await {
                    tracing::debug!(%error, "look at the route");
                }
            }
        };
        tokio::select! {
            done = work => done,
            never = watch => never,
        }
    }

    /// S3 as the administrator, on the storage's own port.
    pub fn s3(&self) -> anyhow::Result<s3client::Client> {
        let key = self.authority.access_key("admin").context("the authority has S3 keys")?;
        crate::cli::s3(self.addresses().objects, key)
    }

    pub fn registry_client(&self) -> oci::RegistryClient {
        oci::RegistryClient::new(Credentials::Basic {
            user: "demo".into(),
            password: self.authority.token(Role::Admin).reveal().to_owned(),
        })
    }

    /// Removes every app, waits until no task is left, and ends the processes.
    pub async fn clear(self) -> anyhow::Result<()> {
        let removed = self.remove_apps().await;
        self.platform.finished().await;
        self.stop.request();
        removed
    }

    async fn remove_apps(&self) -> anyhow::Result<()> {
        let apps = self.marathon(Method::GET, "/v2/apps", None).await?;
        for app in apps["apps"].as_array().into_iter().flatten() {
            let id = app["id"].as_str().context("an app has an id")?;
            self.marathon(Method::DELETE, &format!("/v2/apps{id}?force=true"), None).await?;
        }
        until("no task is left", CLEAR_TIMEOUT, async || {
            let tasks = self.marathon(Method::GET, "/v2/tasks", None).await?;
            let nodes = self.marathon(Method::GET, "/v1/nodes", None).await?;
            let on_nodes =
                nodes.as_array().into_iter().flatten().map(|node| node["tasks"].as_u64().unwrap_or(0)).sum::<u64>();
            let left = tasks["tasks"].as_array().map_or(0, Vec::len) as u64 + on_nodes;
            Ok((left == 0).then_some(()))
        })
        .await
    }
}

/// Looks at a condition until it holds; the error names it and the last reason why it did not.
pub async fn until<T>(
    condition: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + within;
    loop {
        let seen = match tokio::time::timeout_at(deadline, look()).await {
            Ok(Ok(Some(value))) => return Ok(value),
            Ok(Ok(None)) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => Some(anyhow::anyhow!("the look itself took too long")),
        };
        if Instant::now() >= deadline {
            let message = format!("within {within:?} it was not seen that {condition}");
            return Err(seen.map_or_else(|| anyhow::anyhow!("{message}"), |error| error.context(message.clone())));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
