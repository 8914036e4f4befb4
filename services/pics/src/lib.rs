//! The article's web application: it signs, and stays out of the data path.
//!
//! A browser loads the page, asks `/sign` for one signed request at a time, and sends those requests straight to object
//! storage: uploads, listings and downloads never pass through here. So this program opens no connection at all: it needs
//! only the storage's public name and a pair of keys, and runs in a container without an outbound network.
//!
//! Reading order: [`flags`] (the article's command line) → [`endpoint`] (how a bucket is addressed) → [`picture`] (which
//! keys and types exist) → [`operation`] (what may be signed) → [`signer`] → `face` (HTTP) → `page` (HTML).

pub mod endpoint;
mod face;
pub mod flags;
pub mod operation;
mod page;
pub mod picture;
pub mod signer;

pub use endpoint::{BucketName, Endpoint};
pub use flags::{FlagError, Flags, USAGE};
pub use signer::{SignatureVersion, Signer};

use lifecycle::{Started, Stop};
use s3sign::Credentials;
use std::io;
use std::net::SocketAddr;

/// What the service needs; made from the article's [`Flags`] or directly.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    /// The object storage as browsers reach it.
    pub endpoint: Endpoint,
    pub credentials: Credentials,
    pub buckets: Vec<BucketName>,
    pub signature: SignatureVersion,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("bind the page's listener")]
    Bind { source: io::Error },
    #[error("read the host name")]
    Hostname { source: nix::Error },
}

/// Binds the page's listener and serves it until the stop.
pub async fn start(config: Config, stop: Stop) -> Result<Started, Error> {
    let hostname = nix::unistd::gethostname().map_err(|source| Error::Hostname { source })?;
    let hostname = hostname.to_string_lossy().into_owned();
    let listener = web::bind(config.listen).await.map_err(|source| Error::Bind { source })?;
    let address = listener.local_addr().map_err(|source| Error::Bind { source })?;
    let router = face::router(&config, hostname);
    let done = async move {
        web::serve(listener, router, web::Bounds::default(), stop).await;
        Ok(())
    };
    Ok(Started::new(done).listening("", address))
}
