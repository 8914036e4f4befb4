//! The `data` process of `up`: objects and registry. The registry is a client of the objects' S3 and of the store. In a
//! cluster one machine holds the objects; on every other the same S3 address leads to them through a tunnel, so that
//! whoever asks S3 asks its own machine. So it is where an S3 elsewhere keeps the objects.

use super::{REGISTRY_BUCKET, Services};
use crate::cluster::{self, Membership, Others};
use anyhow::Context;
use identity::{AccessKey, Authority, Identity, Role, Tls, Token, Verifier};
use lifecycle::{Started, Stop};
use s3client::Config as S3Config;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use store::{ClientCredentials, EtcdClient, Store};
use tokio::net::TcpListener;

#[derive(clap::Args)]
pub struct Arguments {
    #[arg(long)]
    data: PathBuf,
    #[arg(long)]
    domain: String,
    /// The store of a machine alone
    #[arg(long)]
    etcd: Option<String>,
    #[arg(long)]
    objects: SocketAddr,
    #[arg(long)]
    registry: SocketAddr,
    /// An S3 elsewhere that keeps the objects: http://HOST:PORT
    #[arg(long)]
    s3: Option<String>,
    #[arg(long, env = "ROADSTEAD_S3_ACCESS_KEY", hide_env_values = true, default_value = "")]
    s3_access_key: String,
    #[arg(long, env = "ROADSTEAD_S3_SECRET_KEY", hide_env_values = true, default_value = "")]
    s3_secret_key: String,
    /// Where other machines' tunnels arrive
    #[arg(long)]
    tunnel: Option<SocketAddr>,
    #[arg(long)]
    open: bool,
    #[arg(long)]
    pub supervised: bool,
}

pub async fn start(arguments: Arguments, stop: Stop) -> anyhow::Result<Services> {
    match Membership::read(&arguments.data)? {
        None => start_alone(arguments, stop).await,
        Some(membership) => start_in_cluster(arguments, membership, stop).await,
    }
}

async fn start_alone(arguments: Arguments, stop: Stop) -> anyhow::Result<Services> {
    let authority = Authority::load(&arguments.data)?;
    let (objects, key) = match &arguments.s3 {
        Some(url) => (forward_to(arguments.objects, url, &stop).await?, arguments.elsewheres_key()),
        None => (start_objects(&arguments, &authority, &stop).await?, key(&authority, "registry")?.clone()),
    };
    let (credentials, verifier) = if arguments.open {
        (ClientCredentials::None, Verifier::Open)
    } else {
        let identity = authority.identity(Role::Registry);
        (ClientCredentials::Token(identity.token.clone()), identity.verifier())
    };
    let etcd = arguments.etcd.as_ref().context("--etcd is needed on a machine alone")?;
    let store = Arc::new(EtcdClient::connect(std::slice::from_ref(etcd), credentials, None)?);
    let s3 = objects.address("").context("objects listens")?;
    let registry = start_registry(&arguments, store, verifier, s3_of(s3, &key), &stop).await?;
    Ok(vec![("objects", objects), ("registry", registry)])
}

async fn start_in_cluster(arguments: Arguments, membership: Membership, stop: Stop) -> anyhow::Result<Services> {
    let certificates = arguments.data.join("identity");
    let tls = Tls::open(&certificates, Role::Registry)?;
    let mut services = Vec::new();
    let (objects, key) = match &arguments.s3 {
        Some(url) => (forward_to(arguments.objects, url, &stop).await?, arguments.elsewheres_key()),
        None if membership.holds_objects() => {
            let authority = Authority::load(&arguments.data)?;
            (start_objects(&arguments, &authority, &stop).await?, cluster::registry_key(&arguments.data)?)
        }
        None => {
            let tunnel = tunnel_to(arguments.objects, &membership.settings.objects, &tls, &stop).await?;
            (tunnel, cluster::registry_key(&arguments.data)?)
        }
    };
    let s3 = objects.address("").context("the objects' address is bound")?;
    services.push(("objects", objects));
    if let Some(listen) = arguments.tunnel {
        services.push(("tunnel", tunnel_from(listen, &tls, s3, &stop).await?));
    }
    let store = cluster::state::client(&Others::path(&arguments.data), Some(tls.client(Some(Role::Store))))?;
    let verifier = Identity::read(&Identity::path(&arguments.data, Role::Registry))?.verifier();
    let s3 = s3_of(s3, &key);
    services.push(("registry", start_registry(&arguments, store, verifier, s3, &stop).await?));
    Ok(services)
}

async fn start_objects(arguments: &Arguments, authority: &Authority, stop: &Stop) -> anyhow::Result<Started> {
    let config = ::objects::Config {
        listen: arguments.objects,
        data: arguments.data.join("objects"),
        domains: vec![format!("s3.{}", arguments.domain)],
        credentials: vec![
            credential(key(authority, "admin")?, None),
            credential(key(authority, "registry")?, Some(vec![REGISTRY_BUCKET.into()])),
            credential(key(authority, "pics")?, None),
        ],
        open: arguments.open,
        metrics: None,
    };
    ::objects::start(config, stop.child()).await.context("start objects")
}

impl Arguments {
    fn elsewheres_key(&self) -> AccessKey {
        let secret_key = Token::from_text(self.s3_secret_key.clone());
        AccessKey { access_key: self.s3_access_key.clone(), secret_key }
    }
}

/// This machine's S3 address, where an S3 elsewhere keeps the objects: requests are signed, and pass as they are.
async fn forward_to(listen: SocketAddr, url: &str, stop: &Stop) -> anyhow::Result<Started> {
    let target = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let stop = stop.child();
    bound(listen, |listener| web::tunnel::forward(listener, target, stop)).await
}

/// The same S3 address as on the machine that holds the objects; its bytes go there.
async fn tunnel_to(listen: SocketAddr, holder: &str, tls: &Tls, stop: &Stop) -> anyhow::Result<Started> {
    let (tls, holder, stop) = (tls.client(Some(Role::Registry)), holder.to_owned(), stop.child());
    bound(listen, |listener| web::tunnel::dial(listener, tls, holder, stop)).await
}

/// Where the tunnels of the other machines arrive.
async fn tunnel_from(listen: SocketAddr, tls: &Tls, objects: SocketAddr, stop: &Stop) -> anyhow::Result<Started> {
    let (tls, stop) = (tls.server(identity::ClientCertificates::Required), stop.child());
    let allowed = identity::names_one_of(&[Role::Registry]);
    bound(listen, |listener| web::tunnel::serve(listener, tls, allowed, objects, stop)).await
}

/// Binds `listen`, so that its address is known, and lets `serve` work on it.
async fn bound<Work>(listen: SocketAddr, serve: impl FnOnce(TcpListener) -> Work) -> anyhow::Result<Started>
where
    Work: Future<Output = ()> + Send + 'static,
{
    let listener = web::bind(listen).await?;
    let address = listener.local_addr()?;
    let work = serve(listener);
    let work = async move {
        work.await;
        Ok(())
    };
    Ok(Started::new(work).listening("", address))
}

async fn start_registry(
    arguments: &Arguments,
    store: Arc<dyn Store>,
    verifier: Verifier,
    s3: S3Config,
    stop: &Stop,
) -> anyhow::Result<Started> {
    let config = ::registry::Config {
        listen: arguments.registry,
        store,
        s3,
        bucket: REGISTRY_BUCKET.into(),
        verifier,
        graces: ::registry::Graces::default(),
    };
    ::registry::start(config, stop.child()).await.context("start the registry")
}

fn s3_of(address: SocketAddr, key: &AccessKey) -> S3Config {
    S3Config {
        endpoint: format!("http://{address}"),
        access_key: key.access_key.clone(),
        secret_key: key.secret_key.reveal().to_owned(),
        region: "us-east-1".into(),
    }
}

fn key<'a>(authority: &'a Authority, user: &str) -> anyhow::Result<&'a AccessKey> {
    authority.access_key(user).with_context(|| format!("the authority has no keys for {user}"))
}

fn credential(key: &AccessKey, buckets: Option<Vec<String>>) -> ::objects::Credential {
    let secret_key = key.secret_key.reveal().to_owned();
    ::objects::Credential { access_key: key.access_key.clone(), secret_key, buckets }
}
