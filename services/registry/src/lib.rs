//! The image registry: OCI distribution v1.1, with names and digests in the store and bytes as S3 objects.
//!
//! It keeps nothing on its own disk, so that any number of it may run. What makes it simple is one rule: **bytes first,
//! under a name of their own; then one store transaction makes them mean something.**
//!
//! * An upload is one S3 object, under the upload's id. Committing it is one transaction: digest → object, and "this
//!   repository holds this digest". Nothing is copied or renamed, as registries over S3 otherwise do. When the digest is
//!   known already, the transaction points at the object that is there, and the new one is dropped.
//! * A crash before the transaction leaves bytes that nobody names; the collection ([`collection`]) removes them after a
//!   grace. A crash after it leaves an image that can be read.
//! * References are records: a repository *holds* a blob ([`keys`]), a manifest's record lists what it references. Counts are
//!   derived from them, so they cannot drift; transactions guard that nothing is removed while somebody begins to use it.
//!
//! Rejected: counters in the blob's record (a manifest of many layers would pass the store's limit of 128 operations per
//! transaction); object keys made of digests (a commit would have to copy the object under its digest).

mod collection;
mod error;
mod face;
mod keys;
mod metrics;
mod names;
mod range;
mod records;
mod registry;
mod route;
mod sessions;

pub use collection::Graces;
pub use error::StartError;

use lifecycle::{Started, Stop};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use store::Store;

/// How often the first look at the bucket is repeated while S3 is away.
const BUCKET_RETRY_PAUSE: Duration = Duration::from_millis(500);

pub struct Config {
    pub listen: SocketAddr,
    pub store: Arc<dyn Store>,
    pub s3: s3client::Config,
    /// Made when it is not there. The registry removes what it does not know from it: it must be the registry's own.
    pub bucket: String,
    pub verifier: identity::Verifier,
    pub graces: Graces,
}

/// Binds, then serves until the stop is requested.
pub async fn start(config: Config, stop: Stop) -> Result<Started, StartError> {
    config.verifier.may_guard(config.listen)?;
    let listener = web::bind(config.listen).await.map_err(|source| StartError::Listen { source })?;
    let address = listener.local_addr().map_err(|source| StartError::Listen { source })?;
    let s3 = s3client::Client::new(config.s3).map_err(|source| StartError::S3 { source })?;
    let registry = registry::Registry::new(config.store, s3, config.bucket);
    let router = face::router(registry.clone(), config.verifier);

    let serving = tokio::spawn(web::serve(listener, router, web::Bounds::default(), stop.clone()));
    let working = tokio::spawn(async move {
        make_bucket(&registry, &stop).await;
        collection::run(&registry, config.graces, &stop).await;
    });
    let done = async move {
        serving.await?;
        working.await?;
        Ok(())
    };
    Ok(Started::new(done).listening("", address))
}

/// Until S3 answers, uploads fail; everything else waits for nothing.
async fn make_bucket(registry: &registry::Registry, stop: &Stop) {
    let mut said = false;
    while let Err(error) = registry.s3.create_bucket(&registry.bucket).await {
        // One that another key made, or that stands where ours may make none, is as good.
        if matches!(registry.s3.has_bucket(&registry.bucket).await, Ok(true)) {
            return;
        }
        if !said {
            tracing::warn!(bucket = registry.bucket, error = %lifecycle::ErrorChain(&error), "make the bucket");
            said = true;
        }
        if stop.or(tokio::time::sleep(BUCKET_RETRY_PAUSE)).await.is_none() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(key: &str) -> objects::Credential {
        objects::Credential { access_key: key.into(), secret_key: "secret".into(), buckets: None }
    }

    #[tokio::test]
    async fn a_bucket_that_another_key_made_is_good_enough() {
        let (directory, stop) = (tempfile::tempdir().unwrap(), Stop::new());
        let config = objects::Config {
            listen: ([127, 0, 0, 1], 0).into(),
            data: directory.path().join("objects"),
            domains: Vec::new(),
            credentials: vec![credential("owner"), credential("registry")],
            open: false,
            metrics: None,
        };
        let objects = objects::start(config, stop.clone()).await.unwrap();
        let [owner, s3] = ["owner", "registry"].map(|key| {
            let config = s3client::Config {
                endpoint: format!("http://{}", objects.address("").unwrap()),
                access_key: key.into(),
                secret_key: "secret".into(),
                region: "us-east-1".into(),
            };
            s3client::Client::new(config).unwrap()
        });
        assert!(!s3.has_bucket("images").await.unwrap());
        owner.create_bucket("images").await.unwrap();
        assert_eq!(s3.create_bucket("images").await.unwrap_err().code(), Some("BucketAlreadyExists"));
        let store = Arc::new(store::Embedded::open(directory.path().join("store")).await.unwrap());
        let registry = registry::Registry::new(store, s3, "images".into());
        let made = tokio::time::timeout(Duration::from_secs(10), make_bucket(&registry, &stop)).await;
        made.expect("it is not tried again and again");
        stop.request();
        objects.finished().await.unwrap();
    }
}
