//! Where the edge listens by itself; the store may ask for more.

use crate::certificates::Certificates;
use crate::engine::{Engine, FaceSpec, Kind};
use crate::listeners::own_proxy_header;
use crate::secure::{self, TicketKeys};
use crate::succession::{Sockets, Use};
use crate::{Config, Error};
use routing::{ListenerTls, Network};
use rustls::ServerConfig;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use tokio::net::TcpListener;

pub(super) struct Doors {
    /// With the parts that they are.
    pub addresses: Vec<(&'static str, SocketAddr)>,
    /// Of those for clients.
    pub first: SocketAddr,
    pub api: Option<TcpListener>,
}

/// Ports may be 0.
pub(super) struct Asked<'a> {
    clear: &'a [SocketAddr],
    secure: &'a [SocketAddr],
    api: Option<SocketAddr>,
}

impl<'a> Asked<'a> {
    pub fn by(config: &'a Config) -> Self {
        Self { clear: &config.listen, secure: &config.listen_tls, api: config.api }
    }
}

impl Doors {
    pub async fn open(
        asked: Asked<'_>,
        engine: &Engine,
        sockets: &Sockets,
        (certificates, tickets, proxies): (&Arc<Certificates>, &TicketKeys, &Arc<[Network]>),
    ) -> Result<Self, Error> {
        let mut addresses = Vec::new();
        for address in asked.clear {
            let face = engine.open(own_face(*address, None, proxies)).await.map_err(Error::Bind)?;
            addresses.push(("", face.address));
        }
        let (_, first) = *addresses.first().ok_or(Error::NoListener)?;
        for address in asked.secure {
            let tls = secure::listener(&ListenerTls::default(), certificates, tickets).map_err(Error::Secure)?;
            let face = engine.open(own_face(*address, Some(tls), proxies)).await.map_err(Error::Bind)?;
            addresses.push(("https", face.address));
        }
        let api = match asked.api {
            Some(address) => Some(api_listener(sockets, address).await.map_err(Error::Bind)?),
            None => None,
        };
        if let Some(listener) = &api {
            addresses.push(("api", listener.local_addr().map_err(Error::Bind)?));
        }
        Ok(Self { addresses, first, api })
    }
}

fn own_face(address: SocketAddr, tls: Option<Arc<ServerConfig>>, proxies: &Arc<[Network]>) -> FaceSpec {
    FaceSpec { address, kind: Kind::Http, scope: None, tls, proxy_header: own_proxy_header(proxies) }
}

/// The API's, which may have been handed over.
async fn api_listener(sockets: &Sockets, address: SocketAddr) -> io::Result<TcpListener> {
    let listener = match sockets.take(Use::Api, address).and_then(|mut inherited| inherited.pop()) {
        Some(inherited) => TcpListener::from_std(inherited)?,
        None => web::bind(address).await?,
    };
    sockets.keep(Use::Api, address, &[listener.as_fd().try_clone_to_owned()?.into()])?;
    Ok(listener)
}
