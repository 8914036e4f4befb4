//! The `data` process of `up`: objects and registry. The registry is a client of the objects' S3 and of the store.

use super::{REGISTRY_BUCKET, Services};
use anyhow::Context;
use identity::{AccessKey, Authority, Role, Verifier};
use lifecycle::Stop;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(clap::Args)]
pub struct Arguments {
    #[arg(long)]
    data: PathBuf,
    #[arg(long)]
    domain: String,
    #[arg(long)]
    etcd: String,
    #[arg(long)]
    objects: SocketAddr,
    #[arg(long)]
    registry: SocketAddr,
    #[arg(long)]
    open: bool,
    #[arg(long)]
    pub supervised: bool,
}

pub async fn start(arguments: Arguments, stop: Stop) -> anyhow::Result<Services> {
    let authority = Authority::load(&arguments.data)?;
    let key = |user: &str| authority.access_key(user).with_context(|| format!("the authority has no keys for {user}"));
    let config = ::objects::Config {
        listen: arguments.objects,
        data: arguments.data.join("objects"),
        domains: vec![format!("s3.{}", arguments.domain)],
        credentials: vec![
            credential(key("admin")?, None),
            credential(key("registry")?, Some(vec![REGISTRY_BUCKET.into()])),
            credential(key("pics")?, None),
        ],
        open: arguments.open,
        metrics: None,
    };
    let objects = ::objects::start(config, stop.child()).await.context("start objects")?;
    let s3 = format!("http://{}", objects.address("").context("objects listens")?);

    let (credentials, verifier) = if arguments.open {
        (::store::ClientCredentials::None, Verifier::Open)
    } else {
        let identity = authority.identity(Role::Registry);
        (::store::ClientCredentials::Token(identity.token.clone()), identity.verifier())
    };
    let registry_key = key("registry")?;
    let config = ::registry::Config {
        listen: arguments.registry,
        store: Arc::new(::store::EtcdClient::connect(&[arguments.etcd], credentials)?),
        s3: s3client::Config {
            endpoint: s3,
            access_key: registry_key.access_key.clone(),
            secret_key: registry_key.secret_key.reveal().to_owned(),
            region: "us-east-1".into(),
        },
        bucket: REGISTRY_BUCKET.into(),
        verifier,
        graces: ::registry::Graces::default(),
    };
    let registry = ::registry::start(config, stop.child()).await.context("start the registry")?;
    Ok(vec![("objects", objects), ("registry", registry)])
}

fn credential(key: &AccessKey, buckets: Option<Vec<String>>) -> ::objects::Credential {
    let secret_key = key.secret_key.reveal().to_owned();
    ::objects::Credential { access_key: key.access_key.clone(), secret_key, buckets }
}
