//! The client of etcd's v3 protocol: for our own server and for real etcd.
//!
//! Endpoints are dialled when first needed, so a service may start before its store. A read that meets an endpoint that is
//! away goes to the next one; a write does not, since it may have been done: its caller reads and decides.

mod credentials;
mod store;
mod watch;

pub use credentials::ClientCredentials;

use crate::StoreError;
use crate::refusal::error_of;
use credentials::TokenSource;
use futures::future::BoxFuture;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// etcd itself gives up on a request after 7 s (5 s and two election timeouts).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that is silent under an open call is probed this often (etcd refuses less than 5 s) ...
const PROBE_INTERVAL: Duration = Duration::from_secs(6);
/// ... and is dead when the probe is not answered within this time.
const PROBE_TIMEOUT: Duration = Duration::from_secs(4);
/// One answer read into memory.
const RESPONSE_BYTES_MAX: usize = 512 << 20;

pub struct EtcdClient {
    channels: Vec<Channel>,
    /// Index of the endpoint that is asked first.
    current: AtomicUsize,
    token: TokenSource,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no endpoint of the store was given")]
    NoEndpoint,
    #[error("{endpoint} is not an endpoint (http://HOST:PORT)")]
    Endpoint { endpoint: String, source: tonic::transport::Error },
    #[error("{endpoint} is not an http:// endpoint, the only kind there is for now")]
    Scheme { endpoint: String },
    #[error("the store's token cannot be a header")]
    Token { source: tonic::metadata::errors::InvalidMetadataValue },
}

/// Whether a call that failed on the way may be sent again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Safe,
    Unsafe,
}

impl EtcdClient {
    /// Checks what it is given and connects when first used. Needs a tokio runtime.
    pub fn connect(endpoints: &[String], credentials: ClientCredentials) -> Result<Self, ConnectError> {
        let channels = endpoints.iter().map(|endpoint| channel(endpoint)).collect::<Result<Vec<_>, _>>()?;
        if channels.is_empty() {
            return Err(ConnectError::NoEndpoint);
        }
        let token = TokenSource::new(credentials).map_err(|source| ConnectError::Token { source })?;
        Ok(Self { channels, current: AtomicUsize::new(0), token })
    }

    async fn call<Q, A>(
        &self,
        repeat: Repeat,
        request: impl Fn() -> Q,
        send: impl Fn(Channel, Request<Q>) -> BoxFuture<'static, Result<Response<A>, Status>>,
    ) -> Result<A, StoreError> {
        let mut attempts_left = if repeat == Repeat::Safe { self.channels.len() } else { 1 };
        let mut may_authenticate = true;
        loop {
            attempts_left -= 1;
            let index = self.current.load(Ordering::Relaxed) % self.channels.len();
            let channel = self.channels[index].clone();
            let mut message = Request::new(request());
            let sent = async {
                self.token.attach(&channel, &mut message).await?;
                send(channel.clone(), message).await
            };
            let status = match tokio::time::timeout(REQUEST_TIMEOUT, sent).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::unavailable(format!("no answer within {REQUEST_TIMEOUT:?}")),
            };
            if status.code() == Code::Unauthenticated && may_authenticate && self.token.forget().await {
                may_authenticate = false;
                attempts_left += 1;
                continue;
            }
            let error = error_of(&status);
            if matches!(error, StoreError::Unavailable { .. }) {
                // Others may have moved on already.
                let next = (index + 1) % self.channels.len();
                let _moved = self.current.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
                if attempts_left > 0 {
                    continue;
                }
            }
            return Err(error);
        }
    }
}

fn channel(endpoint: &str) -> Result<Channel, ConnectError> {
    let parsed = Endpoint::from_shared(endpoint.to_owned());
    let parsed = parsed.map_err(|source| ConnectError::Endpoint { endpoint: endpoint.to_owned(), source })?;
    if parsed.uri().scheme_str() != Some("http") {
        return Err(ConnectError::Scheme { endpoint: endpoint.to_owned() });
    }
    let parsed = parsed
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PROBE_INTERVAL)
        .keep_alive_timeout(PROBE_TIMEOUT)
        .keep_alive_while_idle(false);
    Ok(parsed.connect_lazy())
}
