//! gRPC channels over our connector: plain, or TLS with the caller's configuration.

use crate::connector::Connector;
use crate::keepalive::watchful;
use crate::tls::{ALPN_HTTP2, speaking};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::ClientConfig;
use std::sync::Arc;
use tonic::transport::{Channel, Endpoint, Error};

/// A channel that dials when first used and again after its connection ended. With `tls` the endpoint must be `https`; the
/// endpoint's own connect timeout covers the handshake.
pub fn grpc_channel(endpoint: &Endpoint, tls: Option<Arc<ClientConfig>>) -> Channel {
    match tls {
        None => endpoint.connect_lazy(),
        Some(tls) => endpoint.connect_with_connector_lazy(connector(endpoint, &tls)),
    }
}

/// A channel that is connected; an error tells that it could not.
pub async fn grpc_connect(endpoint: &Endpoint, tls: Option<Arc<ClientConfig>>) -> Result<Channel, Error> {
    match tls {
        None => endpoint.connect().await,
        Some(tls) => endpoint.connect_with_connector(connector(endpoint, &tls)).await,
    }
}

fn connector(endpoint: &Endpoint, tls: &ClientConfig) -> Connector {
    let mut tcp = watchful(HttpConnector::new());
    tcp.set_connect_timeout(endpoint.get_connect_timeout());
    Connector::tls(tcp, speaking(tls, &[ALPN_HTTP2]))
}
