//! The proxies under measurement, configured alike: 201 hosts, `X-Forwarded-For`, kept connections to the backend, no access
//! log, one thread on a core of its own.

use super::backend::{Backend, free_address};
use super::idle::ask;
use crate::server::Server;
use anyhow::Context;
use futures::{StreamExt, TryStreamExt};
use identity::{KeyPair, SealKey};
use routing::certificate::{CERTIFICATES_PREFIX, CertificateDocument, CertificateIssuer};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use store::{ClientCredentials, EtcdClient, Store};
use tempfile::TempDir;

/// What the load asks for.
pub const HOST: &str = "bench.test";
/// Hosts in the table beside it.
pub const OTHER_HOSTS: usize = 200;
/// Writes of routes under way at once.
const WRITES_MAX: usize = 64;
pub const PROXY_CORE: usize = 0;
pub const OTHER_CORE: usize = 1;
const READY_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Ours,
    Haproxy,
    Nginx,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    Plain,
    /// With a certificate of a P-256 key.
    Tls,
}

/// How a proxy is started.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    pub peer: Peer,
    pub face: Face,
    pub other_hosts: usize,
    /// A program that runs it, with its arguments.
    pub under: &'a [&'a str],
}

pub struct Proxy {
    pub address: SocketAddr,
    pub face: Face,
    pub server: Server,
    /// Our store.
    beside: Option<Server>,
    files: TempDir,
}

impl Peer {
    pub const ALL: [Self; 3] = [Self::Ours, Self::Haproxy, Self::Nginx];
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ours => "roadstead edge",
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx",
        })
    }
}

/// A program that stays on one core.
pub fn pinned(core: usize, program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string(), program]);
    command
}

fn hosts(others: usize) -> impl Iterator<Item = String> {
    (0..others).map(|number| format!("host{number}.example")).chain([HOST.to_owned()])
}

impl Proxy {
    /// Starts one with the usual number of hosts and waits until it serves the backend.
    pub async fn start(peer: Peer, backend: &Backend, face: Face) -> anyhow::Result<Self> {
        Self::set_up(Setup { peer, face, other_hosts: OTHER_HOSTS, under: &[] }, backend).await
    }

    pub async fn set_up(setup: Setup<'_>, backend: &Backend) -> anyhow::Result<Self> {
        let Setup { peer, face, other_hosts, under } = setup;
        let (files, address) = (tempfile::tempdir()?, free_address()?);
        let (mut beside, path) = (None, files.path());
        let mut api = address;
        if face == Face::Tls {
            certificate(path)?;
        }
        let hosts: Vec<String> = hosts(other_hosts).collect();
        let core = PROXY_CORE.to_string();
        // What counts a process loses those it forks.
        let alone = !under.is_empty();
        let mut command = Command::new("taskset");
        command.args(["-c", &core]).args(under);
        match peer {
            Peer::Ours => {
                let store = store_with_routes(path, backend, &hosts).await?;
                if face == Face::Tls {
                    give_certificate(path, &client_of(&store.address)?).await?;
                }
                api = free_address()?;
                ours(&mut command, path, address, api, face, &store.address)?;
                beside = Some(store);
            }
            Peer::Haproxy => {
                command.args(["haproxy", if alone { "-db" } else { "-W" }, "-f"]);
                command.arg(haproxy(path, address, backend, face, &hosts)?);
            }
            Peer::Nginx => {
                command.args(["nginx", "-e", "stderr", "-p"]).arg(path);
                command.arg("-c").arg(nginx(path, address, backend, face, &hosts)?);
                if alone {
                    command.args(["-g", "master_process off;"]);
                }
            }
        }
        let server = Server::start(command, address.to_string()).await?;
        let proxy = Self { address, face, server, beside, files };
        proxy.serves(HOST).await.with_context(|| format!("{peer} serves"))?;
        if peer == Peer::Ours && face == Face::Tls {
            until(api, "/status", |answer| answer.contains("\"not_after_s\""))
                .await
                .context("it has its certificate")?;
        }
        Ok(proxy)
    }

    /// Of all its processes.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        self.server.cpu_seconds_of_all()
    }

    /// Our store: who changes it changes the routes.
    pub fn store(&self) -> anyhow::Result<EtcdClient> {
        client_of(&self.beside.as_ref().context("only ours has a store")?.address)
    }

    /// A file of its configuration.
    pub fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Waits until a host reaches the backend, asking by new connections.
    pub async fn serves(&self, host: &str) -> anyhow::Result<()> {
        if self.face == Face::Tls {
            return Ok(());
        }
        let answered = async {
            while !ask(self.address, host, "/").await.is_ok_and(|answer| answer.starts_with(SERVED)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(READY_TIMEOUT, answered).await.with_context(|| format!("{host} is not served"))
    }
}

async fn until(address: SocketAddr, path: &str, is_so: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let answered = async {
        while !ask(address, "localhost", path).await.is_ok_and(|answer| is_so(&answer)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(READY_TIMEOUT, answered).await.with_context(|| format!("waiting for {path}"))
}

/// Ours has it in its store, sealed; shown to whoever asks for no name, since the loads ask for an address.
async fn give_certificate(directory: &Path, store: &EtcdClient) -> anyhow::Result<()> {
    let seal_key = SealKey::generate()?;
    seal_key.write(&directory.join(SEAL_KEY))?;
    let read = |name| std::fs::read(directory.join(name));
    let pair = KeyPair { key: read("key.pem")?, cert: read("cert.pem")? };
    let document = CertificateDocument {
        v: 0,
        names: vec![HOST.to_owned()],
        sealed: seal_key.seal_key_pair(&pair)?,
        not_before_s: 0,
        not_after_s: 0,
        issuer: CertificateIssuer::Given,
        default: true,
        ocsp: None,
    };
    let key = format!("{CERTIFICATES_PREFIX}{HOST}");
    store.put(&key, serde_json::to_vec(&document)?.into()).await.with_context(|| format!("write {key}"))?;
    Ok(())
}

/// Files that name the hosts: with one more line, a reload serves one more.
pub const HAPROXY_MAP: &str = "hosts.map";
pub const NGINX_NAMES: &str = "names.conf";
const SEAL_KEY: &str = "seal.key";
/// How an answer of the backend begins.
pub const SERVED: &str = "HTTP/1.1 200";

/// `cert.pem`, `key.pem`, and both in `both.pem`.
fn certificate(directory: &Path) -> anyhow::Result<()> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let certificate = rcgen::CertificateParams::new([HOST.to_owned()])?.self_signed(&key)?;
    std::fs::write(directory.join("cert.pem"), certificate.pem())?;
    std::fs::write(directory.join("key.pem"), key.serialize_pem())?;
    std::fs::write(directory.join("both.pem"), certificate.pem() + &key.serialize_pem())?;
    Ok(())
}

/// Built beside this program.
fn roadstead() -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("roadstead"))
}

fn ours(
    command: &mut Command,
    directory: &Path,
    address: SocketAddr,
    api: SocketAddr,
    face: Face,
    store: &str,
) -> anyhow::Result<()> {
    command.arg(roadstead()?).args(["edge", "--open", "--api", &api.to_string(), "--etcd", &format!("http://{store}")]);
    match face {
        Face::Plain => command.args(["--listen", &address.to_string()]),
        Face::Tls => {
            command.args(["--listen", &free_address()?.to_string(), "--listen-tls", &address.to_string()]);
            command.arg("--seal-key").arg(directory.join(SEAL_KEY))
        }
    };
    Ok(())
}

/// Our embedded store, on the other core, with vulcand's keys for every host.
async fn store_with_routes(directory: &Path, backend: &Backend, hosts: &[String]) -> anyhow::Result<Server> {
    let address = free_address()?.to_string();
    let mut command = pinned(OTHER_CORE, &roadstead()?.display().to_string());
    command.args(["store", "--open", "--listen", &address, "--data"]).arg(directory.join("store"));
    let server = Server::start(command, address.clone()).await?;
    let client = client_of(&address)?;
    client.put("/vulcand/backends/b/backend", r#"{"Type":"http"}"#.into()).await?;
    let backend = format!(r#"{{"URL":"http://{}"}}"#, backend.address);
    client.put("/vulcand/backends/b/servers/s", backend.into()).await?;
    let writes = hosts.iter().map(|host| add_route(&client, host));
    futures::stream::iter(writes).buffer_unordered(WRITES_MAX).try_collect::<()>().await?;
    Ok(server)
}

fn client_of(store: &str) -> anyhow::Result<EtcdClient> {
    Ok(EtcdClient::connect(&[format!("http://{store}")], ClientCredentials::None, None)?)
}

pub async fn add_route(store: &EtcdClient, host: &str) -> anyhow::Result<()> {
    let frontend =
        format!(r#"{{"Type":"http","BackendId":"b","Route":"Host(`{host}`)","Settings":{{"PassHostHeader":true}}}}"#);
    let key = format!("/vulcand/frontends/{host}/frontend");
    store.put(&key, frontend.into()).await.with_context(|| format!("write {key}"))?;
    Ok(())
}

fn haproxy(
    directory: &Path,
    address: SocketAddr,
    backend: &Backend,
    face: Face,
    hosts: &[String],
) -> anyhow::Result<PathBuf> {
    let map: Vec<String> = hosts.iter().map(|host| format!("{host} b\n")).collect();
    std::fs::write(directory.join(HAPROXY_MAP), map.concat())?;
    let tls = match face {
        Face::Plain => String::new(),
        Face::Tls => format!(" ssl crt {} alpn h2,http/1.1", directory.join("both.pem").display()),
    };
    let text = format!(
        "global\n nbthread 1\n maxconn 9000\n\
         defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n http-reuse always\n option forwardfor\n\
         frontend f\n bind {address}{tls}\n use_backend %[req.hdr(host),field(1,:),lower,map_str({map},none)]\n\
         backend none\n http-request deny deny_status 404\n\
         backend b\n server s {server}\n",
        map = directory.join(HAPROXY_MAP).display(),
        server = backend.address,
    );
    let path = directory.join("haproxy.cfg");
    std::fs::write(&path, text)?;
    Ok(path)
}

fn nginx(
    directory: &Path,
    address: SocketAddr,
    backend: &Backend,
    face: Face,
    hosts: &[String],
) -> anyhow::Result<PathBuf> {
    std::fs::write(directory.join(NGINX_NAMES), format!("server_name {};\n", hosts.join(" ")))?;
    let tls = match face {
        Face::Plain => String::new(),
        Face::Tls => {
            let path = |name: &str| directory.join(name).display().to_string();
            format!("ssl_certificate {}; ssl_certificate_key {};", path("cert.pem"), path("key.pem"))
        }
    };
    let listen = if face == Face::Tls { format!("{address} ssl http2") } else { address.to_string() };
    let text = format!(
        "daemon off; worker_processes 1; error_log stderr crit; pid nginx.pid;\n\
         events {{ worker_connections 18000; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 60s; server_names_hash_max_size 65536;\n\
         client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n\
         upstream b {{ server {server}; keepalive 512; keepalive_requests 1000000000; }}\n\
         server {{ listen {listen}; include {NGINX_NAMES}; {tls}\n\
         location / {{ proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }}\n\
         }}\n",
        server = backend.address,
    );
    let path = directory.join("nginx.conf");
    std::fs::write(&path, text)?;
    Ok(path)
}
