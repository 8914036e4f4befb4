//! How a command reaches the platform: by the data directory of one that runs on this machine (its root-only socket and
//! its addresses), or by URL and token.

use crate::config::{ConfigError, DATA_DEFAULT};
use crate::up::Addresses;
use anyhow::Context;
use identity::{Authority, Role};
use std::path::{Path, PathBuf};
use web::{Client, Credentials};

#[derive(clap::Args, Clone)]
pub struct Connection {
    /// Data directory of the platform on this machine
    #[arg(long, env = "ROADSTEAD_DATA", default_value = DATA_DEFAULT, global = true)]
    data: PathBuf,
    /// URL of the API instead, e.g. http://10.0.0.5:8080
    #[arg(long, env = "ROADSTEAD_SERVER", global = true)]
    server: Option<String>,
    /// Token for --server
    #[arg(long, env = "ROADSTEAD_TOKEN", hide_env_values = true, global = true)]
    token: Option<String>,
}

/// The API: a client and the start of its URLs.
pub struct Api {
    pub client: Client,
    pub base: String,
}

impl Connection {
    pub fn api(&self) -> anyhow::Result<Api> {
        if let Some(server) = &self.server {
            let client = Client::new(self.token_credentials());
            return Ok(Api { client, base: server.trim_end_matches('/').to_owned() });
        }
        let socket = socket_path(&self.data);
        if !socket.exists() {
            let message = format!(
                "no platform runs on {} (there is no {}); start one with `roadstead up`, or name one with --server URL",
                self.data.display(),
                socket.display()
            );
            return Err(ConfigError::Usage(message).into());
        }
        Ok(Api { client: Client::unix(socket, Credentials::None), base: "http://localhost".into() })
    }

    /// Where the parts of the platform on this machine listen.
    pub fn addresses(&self) -> anyhow::Result<Addresses> {
        if self.server.is_some() {
            let message = "this command needs the data directory of a platform on this machine, not --server";
            return Err(ConfigError::Usage(message.into()).into());
        }
        Addresses::read(&self.data)
    }

    pub fn authority(&self) -> anyhow::Result<Authority> {
        let path = Authority::path(&self.data);
        anyhow::ensure!(path.exists(), "{} does not exist: no platform was started there", path.display());
        Ok(Authority::load_or_create(&self.data)?)
    }

    /// A client that shows the administrator's token (or `--token`).
    pub fn admin_client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(Credentials::Bearer(self.admin_token()?)))
    }

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
}

/// The socket of the API that only the owner of the data directory may use.
pub fn socket_path(data: &Path) -> PathBuf {
    data.join("roadstead.sock")
}

impl Api {
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.client.get_json(&self.url(path)).await.map_err(plain)
    }

    pub async fn send<T: serde::de::DeserializeOwned>(
        &self,
        method: http::Method,
        path: &str,
        body: &impl serde::Serialize,
    ) -> anyhow::Result<T> {
        self.client.send_json(method, &self.url(path), body).await.map_err(plain)
    }
}

/// A refusal is shown as the API put it, without the call around it.
fn plain(error: web::ClientError) -> anyhow::Error {
    if let web::ClientError::Status { body, status, .. } = &error {
        let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
        let message = json.as_ref().and_then(|json| json.get("message")).and_then(|message| message.as_str());
        if let Some(message) = message {
            let details = json.as_ref().and_then(|json| json.get("details")).map(details).unwrap_or_default();
            return anyhow::anyhow!("{message} ({status}){details}");
        }
    }
    anyhow::Error::new(error).context("ask the platform")
}

/// Marathon's `details`: one line per field.
fn details(details: &serde_json::Value) -> String {
    let mut text = String::new();
    for detail in details.as_array().into_iter().flatten() {
        let path = detail["path"].as_str().unwrap_or_default();
        for error in detail["errors"].as_array().into_iter().flatten() {
            text.push_str(&format!("\n  {path}: {}", error.as_str().unwrap_or_default()));
        }
    }
    text
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
