//! The S3 face over the object log: what ViPR is in the article.
//!
//! A request goes through five steps, each in its own module, read in this order:
//! [`service`] (request ids, errors, CORS, metrics) → [`address`] (which bucket and key: host or path) → [`access`] (whose
//! request is it) → [`operation`] (what does it ask for) → [`operations`] (one file per family). Bodies go through
//! [`receive`] on their way in.
//!
//! Architecture invariant: nothing here knows how objects are kept; [`objectlog`] knows nothing of S3.
//! Memory per connection: one head, and per upload what [`objectlog::BodyWriter`] holds (about 0.6 MiB).

mod access;
mod address;
mod checksums;
mod conditions;
mod cors;
mod fault;
mod limits;
mod metrics;
mod operation;
mod operations;
mod receive;
mod service;
mod stored;
mod xml;

use identity::Gate;
use lifecycle::{Started, Stop};
use objectlog::ObjectLog;
use service::Service;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// What the service is given.
pub struct Config {
    pub listen: SocketAddr,
    /// The directory of the object log.
    pub data: PathBuf,
    /// Hosts under which a bucket is a subdomain: with `s3.localhost`, `http://b.s3.localhost/k` is key `k` of bucket `b`.
    /// Under any other host the bucket is the first segment of the path.
    pub domains: Vec<String>,
    pub credentials: Vec<Credential>,
    /// Serves everybody, signed or not. Only on loopback.
    pub open: bool,
    /// Where to serve `/metrics`, and behind which gate.
    pub metrics: Option<MetricsListener>,
}

pub struct MetricsListener {
    pub listen: SocketAddr,
    pub gate: Gate,
}

/// Who may use which buckets. Has no `Debug`: a secret is not printed.
#[derive(Clone)]
pub struct Credential {
    pub access_key: String,
    pub secret_key: String,
    /// `None`: all.
    pub buckets: Option<Vec<String>>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("an open object store must listen on loopback, not on {0}")]
    OpenBeyondLoopback(SocketAddr),
    #[error("an object store needs credentials, or must be open")]
    NoCredentials,
    #[error("credential {access_key}")]
    Credential { access_key: String, source: s3sign::InvalidCredentials },
    #[error("open the object log")]
    Log(#[source] objectlog::Error),
    #[error("listen")]
    Listen(#[source] io::Error),
}

/// Opens the log, binds, and serves until `stop`.
pub async fn start(config: Config, stop: Stop) -> Result<Started, Error> {
    if config.open && !config.listen.ip().is_loopback() {
        return Err(Error::OpenBeyondLoopback(config.listen));
    }
    if !config.open && config.credentials.is_empty() {
        return Err(Error::NoCredentials);
    }
    let access = access::Access::new(config.credentials, config.open)?;
    let listener = web::bind(config.listen).await.map_err(Error::Listen)?;
    let address = listener.local_addr().map_err(Error::Listen)?;
    let metrics_listener = match config.metrics {
        None => None,
        Some(metrics) => Some((web::bind(metrics.listen).await.map_err(Error::Listen)?, metrics.gate)),
    };
    let metrics_address = match &metrics_listener {
        None => None,
        Some((listener, _)) => Some(listener.local_addr().map_err(Error::Listen)?),
    };
    let log = ObjectLog::open(&config.data, objectlog::Options::default()).await.map_err(Error::Log)?;
    let service = Arc::new(Service::new(log, access, address::Domains::new(config.domains)));
    let metrics = metrics_listener.map(|(listener, gate)| {
        web::serve(
            listener,
            metrics::router(Arc::clone(&service)).layer(gate.layer()),
            web::Bounds::default(),
            stop.clone(),
        )
    });
    let face = web::serve(listener, service::router(service), limits::BOUNDS, stop.clone());
    let serving = tokio::spawn(async move {
        match metrics {
            None => face.await,
            Some(metrics) => drop(tokio::join!(face, metrics)),
        }
    });
    let started = Started::new(async move { serving.await.map_err(Into::into) }).listening("", address);
    Ok(match metrics_address {
        None => started,
        Some(address) => started.listening("metrics", address),
    })
}
