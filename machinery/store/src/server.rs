//! The embedded engine behind etcd's v3 protocol: gRPC and HTTP on one port.
//!
//! A request's content type decides who answers it: `application/grpc` over HTTP/2 the gRPC services, everything else the
//! JSON gateway, `/health`, `/version` and `/metrics`. Everything but `/health` and `/version` asks for credentials, and
//! each role may touch only its own keys.

mod access;
mod administration;
mod gateway;
mod kv;
mod lease;
#[cfg(test)]
mod tests;
mod watch;

use crate::embedded::{Embedded, OpenError};
use crate::refusal::Refusal;
use crate::wire::etcdserverpb as pb;
use crate::{REQUEST_BYTES_MAX, Revision};
use axum::Router;
use identity::Verifier;
use lifecycle::{BoxError, Started, Stop};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tonic::service::Routes;

/// The release whose behaviour and texts this server has.
const ETCD_VERSION: &str = "3.4.23";
const ETCD_CLUSTER_VERSION: &str = "3.4.0";
/// A store without consensus has one term for ever: the one in which a fresh etcd of one member works.
const RAFT_TERM: u64 = 2;
/// Bytes of one gRPC message: a request and what surrounds it (etcd adds 512 KiB as well).
const MESSAGE_BYTES_MAX: usize = REQUEST_BYTES_MAX + (512 << 10);

pub struct Config {
    pub listen: SocketAddr,
    /// Directory of the log and the snapshot.
    pub data: PathBuf,
    pub verifier: Verifier,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Exposed(#[from] identity::OpenBeyondLoopback),
    #[error("bind the store's listener")]
    Bind { source: std::io::Error },
    #[error("open the store in {}", data.display())]
    Open { data: PathBuf, source: OpenError },
}

/// The store's log failed; its process must begin anew.
#[derive(Debug, thiserror::Error)]
#[error("the store's log failed: {failure}")]
struct LogFailed {
    failure: String,
}

pub async fn start(config: Config, stop: Stop) -> Result<Started, StartError> {
    let Config { listen, data, verifier } = config;
    verifier.may_guard(listen)?;
    let listener = web::bind(listen).await.map_err(|source| StartError::Bind { source })?;
    let address = listener.local_addr().map_err(|source| StartError::Bind { source })?;
    let store = Embedded::open(data.clone()).await.map_err(|source| StartError::Open { data, source })?;
    let store = Arc::new(store);
    let serving = stop.child();
    let face = Face { store: Arc::clone(&store), verifier, address, stop: serving.clone() };
    let router = router(face);
    let done = tokio::spawn(async move {
        let served = web::serve(listener, router, web::Bounds::default(), serving.clone());
        let failed = async {
            store.failed().await;
            serving.request();
            // The requests under way are still answered: the other future ends this one.
            std::future::pending::<()>().await;
        };
        tokio::select! { () = served => {}, () = failed => {} }
        store.close().await;
        match store.status().failure {
            None => Ok(()),
            Some(failure) => Err(BoxError::from(LogFailed { failure })),
        }
    });
    Ok(Started::new(async move { done.await? }).listening("", address))
}

/// What every service of the server needs.
#[derive(Clone)]
struct Face {
    store: Arc<Embedded>,
    verifier: Verifier,
    address: SocketAddr,
    /// Streams end when it is requested.
    stop: Stop,
}

impl Face {
    fn header(&self, revision: Revision) -> pb::ResponseHeader {
        let status = self.store.identity();
        pb::ResponseHeader {
            cluster_id: status.cluster_id,
            member_id: status.member_id,
            revision,
            raft_term: RAFT_TERM,
        }
    }

    /// The engine's header, which knows only the revision, made whole.
    fn whole(&self, header: Option<pb::ResponseHeader>) -> Option<pb::ResponseHeader> {
        header.map(|header| self.header(header.revision))
    }

    fn header_now(&self) -> Option<pb::ResponseHeader> {
        Some(self.header(self.store.revision()))
    }
}

fn router(face: Face) -> Router {
    use pb::{
        auth_server::AuthServer, cluster_server::ClusterServer, kv_server::KvServer, lease_server::LeaseServer,
        maintenance_server::MaintenanceServer, watch_server::WatchServer,
    };
    // A method none of them has is answered UNIMPLEMENTED.
    let grpc = Routes::default()
        .add_service(KvServer::new(face.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(WatchServer::new(face.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(LeaseServer::new(face.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(ClusterServer::new(face.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(MaintenanceServer::new(face.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(AuthServer::new(face.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .into_axum_router();
    web::grpc_or(grpc, gateway::router(face))
}
