//! The client of etcd's v3 protocol: for our own server and for real etcd, over TLS where the endpoints are `https`.
//!
//! Endpoints are dialled when first needed, so a service may start before its store; the one that answered last is asked
//! first. A read goes on to the next endpoint after any failure. A write does so only when it was surely not done: the
//! connection failed, or the member refused it for want of a leader. A write whose fate is unknown is reported as
//! [`StoreError::Unavailable`] soon, and its caller reads and decides. (etcd answers a write that was lost with its leader
//! after 5 s and two election timeouts.)

mod auth;
mod call;
mod credentials;
mod doubt;
mod endpoints;
mod members;
mod store;
mod watch;

pub use credentials::ClientCredentials;

use arc_swap::ArcSwap;
use credentials::TokenSource;
use doubt::Term;
use endpoints::Endpoints;
use rustls::ClientConfig;
use std::sync::Arc;

/// One answer read into memory.
const RESPONSE_BYTES_MAX: usize = 512 << 20;

pub struct EtcdClient {
    endpoints: ArcSwap<Endpoints>,
    tls: Option<Arc<ClientConfig>>,
    token: TokenSource,
    term: Term,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no endpoint of the store was given")]
    NoEndpoint,
    #[error("{endpoint} is not an endpoint (http://HOST:PORT)")]
    Endpoint { endpoint: String, source: tonic::transport::Error },
    #[error("{endpoint} is neither an http:// nor an https:// endpoint")]
    Scheme { endpoint: String },
    #[error("{endpoint} is an https:// endpoint, for which there are no certificates")]
    NoCertificates { endpoint: String },
    #[error("{endpoint} is an http:// endpoint, where there are certificates to use")]
    Plain { endpoint: String },
    #[error("the store's token cannot be a header")]
    Token { source: tonic::metadata::errors::InvalidMetadataValue },
}

impl EtcdClient {
    /// Checks what it is given and connects when first used. Needs a tokio runtime.
    pub fn connect(
        endpoints: &[String],
        credentials: ClientCredentials,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self, ConnectError> {
        let endpoints = Endpoints::new(endpoints, tls.as_ref())?;
        let token = TokenSource::new(credentials).map_err(|source| ConnectError::Token { source })?;
        Ok(Self { endpoints: ArcSwap::from_pointee(endpoints), tls, token, term: Term::default() })
    }

    /// Asks these from now on: members come and go. Connections to those that stay are kept.
    pub fn set_endpoints(&self, endpoints: &[String]) -> Result<(), ConnectError> {
        let old = self.endpoints.load();
        let new = Endpoints::following(&old, endpoints, self.tls.as_ref())?;
        self.endpoints.store(Arc::new(new));
        Ok(())
    }
}
