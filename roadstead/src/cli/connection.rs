//! How a command reaches the platform: by the data directory of one that runs on this machine (its root-only socket and
//! its addresses), or by URL and token.

mod refusal;

use crate::config::{ConfigError, DATA_DEFAULT};
use crate::up::Addresses;
use anyhow::Context;
use http::header::ACCEPT;
use http::{Method, Request};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use identity::{Authority, Role};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use web::{Client, ClientError, Credentials};

#[derive(clap::Args, Clone)]
pub struct Connection {
    /// Data directory of the platform on this machine
    #[arg(long, env = "ROADSTEAD_DATA", default_value = DATA_DEFAULT, help_heading = "Connection", hide_env_values = true)]
    data: PathBuf,
    /// A platform elsewhere: URL of what is asked (Marathon's API; for routes the edge's), e.g. http://10.0.0.5:8080
    #[arg(
        long,
        env = "ROADSTEAD_SERVER",
        value_name = "URL",
        help_heading = "Connection",
        hide_env_values = true,
        value_parser = parse_server
    )]
    server: Option<String>,
    /// Token to show to --server
    #[arg(long, env = "ROADSTEAD_TOKEN", hide_env_values = true, help_heading = "Connection")]
    token: Option<String>,
}

/// An HTTP API: a client and the start of its URLs.
pub struct Api {
    pub client: Client,
    base: String,
    /// What a person calls it.
    name: String,
}

/// The most of a refusal that is read.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

impl Connection {
    /// Marathon's API, and what is beside it.
    pub fn api(&self) -> anyhow::Result<Api> {
        if let Some(server) = &self.server {
            return Ok(Api::at(server.clone(), self.token_credentials()));
        }
        let socket = socket_path(&self.data);
        match socket.try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(self.nothing_runs().into()),
            Err(error) => return Err(anyhow::Error::new(error).context(format!("look for {}", socket.display()))),
        }
        let name = socket.display().to_string();
        Ok(Api { client: Client::unix(socket, Credentials::None), base: "http://localhost".into(), name })
    }

    /// The API of the edge on this machine, or of the one at `--server`.
    pub fn edge_api(&self) -> anyhow::Result<Api> {
        if let Some(server) = &self.server {
            return Ok(Api::at(server.clone(), self.token_credentials()));
        }
        Ok(Api::at(format!("http://{}", self.addresses()?.edge_api), Credentials::Bearer(self.admin_token()?)))
    }

    /// The APIs of these edges, or of the one that [`Connection::edge_api`] finds.
    pub fn edge_apis(&self, edges: &[String]) -> anyhow::Result<Vec<Api>> {
        if edges.is_empty() {
            return Ok(vec![self.edge_api()?]);
        }
        let credentials = match (&self.token, &self.server) {
            (None, None) => Credentials::Bearer(self.admin_token()?),
            _ => self.token_credentials(),
        };
        Ok(edges.iter().map(|edge| Api::at(edge.clone(), credentials.clone())).collect())
    }

    /// The API of an edge of another machine, read with the right to read alone.
    pub fn viewers_api(&self, edge: SocketAddr) -> anyhow::Result<Api> {
        let token = match &self.token {
            Some(token) => token.clone(),
            None => self.authority()?.token(Role::Viewer).reveal().to_owned(),
        };
        Ok(Api::at(format!("http://{edge}"), Credentials::Bearer(token)))
    }

    /// Whether a platform elsewhere is asked.
    pub fn is_elsewhere(&self) -> bool {
        self.server.is_some()
    }

    /// The status of the floating addresses on this machine, or on the one at `--server`.
    pub fn vip_api(&self) -> anyhow::Result<Api> {
        if let Some(server) = &self.server {
            return Ok(Api::at(server.clone(), self.token_credentials()));
        }
        let none =
            || ConfigError::Usage("this platform has no floating address: `roadstead up --address A --vip …`".into());
        let vip = self.addresses()?.vip.ok_or_else(none)?;
        Ok(Api::at(format!("http://{vip}"), Credentials::Bearer(self.admin_token()?)))
    }

    /// The data directory that is asked.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Where the parts of the platform on this machine listen.
    pub fn addresses(&self) -> anyhow::Result<Addresses> {
        if self.server.is_some() {
            let message = "this command reads the data directory of a platform on this machine; leave out --server";
            return Err(ConfigError::Usage(message.into()).into());
        }
        if let Ok(false) = Addresses::path(&self.data).try_exists() {
            return Err(self.nothing_runs().into());
        }
        Addresses::read(&self.data)
    }

    pub fn authority(&self) -> anyhow::Result<Authority> {
        match Authority::path(&self.data).try_exists() {
            Ok(false) => Err(self.nothing_runs().into()),
            _ => Authority::load(&self.data).map_err(|error| refusal::unreadable(error, &self.data)),
        }
    }

    /// The administrator's token (or `--token`).
    pub fn admin_token(&self) -> anyhow::Result<String> {
        match &self.token {
            Some(token) => Ok(token.clone()),
            None => Ok(self.authority()?.token(Role::Admin).reveal().to_owned()),
        }
    }

    pub fn token(&self) -> Option<&String> {
        self.token.as_ref()
    }

    fn token_credentials(&self) -> Credentials {
        self.token.clone().map_or(Credentials::None, Credentials::Bearer)
    }

    fn nothing_runs(&self) -> ConfigError {
        let data = self.data.display();
        ConfigError::Usage(format!(
            "no platform runs on {data}; start one with `roadstead up --data {data}`, or name one with --data or --server"
        ))
    }
}

/// `HOST:PORT` is as good as `http://HOST:PORT/`.
pub fn parse_server(text: &str) -> Result<String, String> {
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: http::Uri = url.parse().map_err(|error| format!("{error}"))?;
    match uri.scheme_str() {
        Some("http") => Ok(url.trim_end_matches('/').to_owned()),
        _ => Err("expected http://HOST:PORT".into()),
    }
}

/// The socket of the API that only the owner of the data directory may use.
pub fn socket_path(data: &Path) -> PathBuf {
    data.join("roadstead.sock")
}

impl Api {
    pub(super) fn at(base: String, credentials: Credentials) -> Self {
        Self { client: Client::new(credentials), name: base.clone(), base }
    }

    pub(super) fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// What a person calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.client.get_json(&self.url(path)).await.map_err(|error| refusal::explain(error, &self.name))
    }

    /// What is at `path`; `None` when there is nothing.
    pub async fn find<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Option<T>> {
        match self.client.get_json(&self.url(path)).await {
            Ok(value) => Ok(Some(value)),
            Err(ClientError::Status { status: http::StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(refusal::explain(error, &self.name)),
        }
    }

    pub async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let answer = self.client.send_json(method, &self.url(path), body).await;
        answer.map_err(|error| refusal::explain(error, &self.name))
    }

    /// GET whose answer is read as it comes.
    pub async fn open(&self, path: &str, accept: &str) -> anyhow::Result<Incoming> {
        let uri = self.url(path);
        let request = Request::get(&uri).header(ACCEPT, accept).body(web::empty_body())?;
        let response = self.client.send(request).await.map_err(|error| refusal::explain(error, &self.name))?;
        let (head, body) = response.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        let body = Limited::new(body, REFUSAL_BYTES_MAX).collect().await;
        let body = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
        Err(refusal::explain(ClientError::Status { uri, status: head.status, body }, &self.name))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

impl Addresses {
    fn path(data: &Path) -> PathBuf {
        data.join("addresses.json")
    }

    pub fn write(&self, data: &Path) -> anyhow::Result<()> {
        let path = Self::path(data);
        std::fs::write(&path, serde_json::to_vec_pretty(self)?).with_context(|| format!("write {}", path.display()))
    }

    pub fn read(data: &Path) -> anyhow::Result<Self> {
        let path = Self::path(data);
        let text = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is not what `roadstead up` writes", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_be_named_without_its_scheme() {
        assert_eq!(parse_server("10.0.0.5:8080").unwrap(), "http://10.0.0.5:8080");
        assert_eq!(parse_server("http://marathon.lan/").unwrap(), "http://marathon.lan");
        for text in ["https://marathon.lan", "ftp://x", "http://", "a b", ""] {
            assert!(parse_server(text).is_err(), "{text:?}");
        }
    }
}
