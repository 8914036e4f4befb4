//! The platform of the demo as its clients see it: the administrator at its own ports, and the public at its address.

use super::load::Load;
use super::metrics::EdgeMetrics;
use crate::up::Addresses;
use anyhow::{Context, bail};
use http::{Method, Request, Response, header};
use identity::{Authority, Role};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
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

/// The platform's ports are on loopback: on one machine everyone's, among network namespaces each node's own. So a call
/// is made by a runtime whose threads are where its port is.
pub struct Stage {
    addresses: Addresses,
    authority: Authority,
    admin: Client,
    anyone: Client,
    at_platform: Handle,
    public: Public,
    /// Where each edge that may serve the public tells its metrics.
    edges: Vec<(Handle, SocketAddr)>,
    /// The most servers of the app's route that were seen at once.
    routed_max: AtomicU64,
}

/// Where the public is, the edge it knows, and how patient it is.
#[derive(Clone)]
pub struct Public {
    pub runtime: Handle,
    pub edge: SocketAddr,
    /// What comes later has failed.
    pub answer_within: Duration,
}

impl Stage {
    pub fn new(addresses: Addresses, authority: Authority, at_platform: Handle, public: Public) -> Self {
        let admin = administrator(&authority);
        let (anyone, routed_max) = (Client::default(), AtomicU64::new(0));
        let edges = vec![(at_platform.clone(), addresses.edge_api)];
        Self { addresses, authority, admin, anyone, at_platform, public, edges, routed_max }
    }

    /// Any of these stages' edges may serve the public.
    pub fn share_public(stages: &mut [Self]) {
        let edges: Vec<_> = stages.iter().flat_map(|stage| stage.edges.clone()).collect();
        for stage in stages {
            stage.edges.clone_from(&edges);
        }
    }

    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The port of the edge in public URLs.
    pub fn public_port(&self) -> u16 {
        self.public.edge.port()
    }

    /// Work beside the platform's ports.
    pub async fn at_platform<T: Send + 'static>(
        &self,
        work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
    ) -> anyhow::Result<T> {
        run_on(&self.at_platform, work).await
    }

    /// Load on the app from where the public is.
    pub fn load(&self) -> Load {
        let _there = self.public.runtime.enter();
        Load::start(self.public.edge, APP_HOST.into(), self.public.answer_within).with_posts()
    }

    /// Asks Marathon's API, as the administrator.
    pub async fn marathon(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let uri = format!("http://{}{path}", self.addresses.controller);
        let (content_type, body) = match body {
            Some(body) => (Some("application/json"), web::full_body(serde_json::to_vec(body)?)),
            None => (None, web::empty_body()),
        };
        let (admin, called) = (self.admin.clone(), method.clone());
        let call = async move { Ok(admin.call(called, &uri, content_type, body).await?) };
        let response = self.at_platform(call).await?;
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
        *request.uri_mut() = format!("http://{}{path}", self.public.edge).parse()?;
        request.headers_mut().insert(header::HOST, host.parse()?);
        let anyone = self.anyone.clone();
        run_on(&self.public.runtime, async move { Ok(anyone.fetch(request).await?) }).await
    }

    /// Of all edges that serve the public.
    pub async fn edge_metrics(&self) -> anyhow::Result<EdgeMetrics> {
        let mut metrics = EdgeMetrics::default();
        for (runtime, api) in &self.edges {
            let (admin, uri) = (administrator(&self.authority), format!("http://{api}/metrics"));
            let response = run_on(runtime, async move { Ok(admin.get(&uri).await?) }).await?;
            anyhow::ensure!(response.status().is_success(), "an edge's metrics: {}", response.status());
            metrics.add(&String::from_utf8_lossy(response.body()));
        }
        Ok(metrics)
    }

    /// URLs of the servers of the app's route, as the edge has them.
    pub async fn servers(&self) -> anyhow::Result<Vec<String>> {
        let (admin, uri) = (self.admin.clone(), format!("http://{}/routes", self.addresses.edge_api));
        let answer: Value = self.at_platform(async move { Ok(admin.get_json(&uri).await?) }).await?;
        let of_app = |route: &&Value| route["rule"].as_str().is_some_and(|rule| rule.contains(APP_HOST));
        let route = answer["routes"].as_array().into_iter().flatten().find(of_app);
        let servers = route.and_then(|route| route["servers"].as_array()).into_iter().flatten();
        Ok(servers.filter_map(|server| server["url"].as_str().map(str::to_owned)).collect())
    }

    /// How many servers of the app's route the edge has.
    pub async fn routed(&self) -> anyhow::Result<u64> {
        let servers = self.servers().await?.len() as u64;
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
        crate::cli::s3(self.addresses.objects, key)
    }

    pub fn registry_client(&self) -> oci::RegistryClient {
        oci::RegistryClient::new(Credentials::Basic {
            user: "demo".into(),
            password: self.authority.token(Role::Admin).reveal().to_owned(),
        })
    }

    /// Removes every app and waits until no task is left.
    pub async fn remove_apps(&self) -> anyhow::Result<()> {
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

fn administrator(authority: &Authority) -> Client {
    Client::new(Credentials::Bearer(authority.token(Role::Admin).reveal().to_owned()))
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

/// Work on the threads of another runtime; it ends when nobody waits for it any more.
pub async fn run_on<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
) -> anyhow::Result<T> {
    let mut only = JoinSet::new();
    only.spawn_on(work, runtime);
    let done = only.join_next().await.context("work that was started ends")?;
    done.context("work on another runtime")?
}
