//! The server behind every proxy: as little as can answer, in a process of its own, beside the load.

use super::proxy::{OTHER_CORE, pinned};
use crate::server::Server;
use anyhow::Context;
use std::net::{SocketAddr, TcpListener as StdListener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What asks for the large body.
pub const LARGE_PATH: &str = "/large";
const LARGE_BYTES: usize = 64 * 1024;
const SMALL_BYTES: usize = 100;
const HEAD_END: &[u8] = b"\r\n\r\n";
const BUFFER_BYTES: usize = 16 * 1024;

pub struct Backend {
    _server: Server,
    pub address: SocketAddr,
}

impl Backend {
    pub async fn start() -> anyhow::Result<Self> {
        Self::named("").await
    }

    /// Its small answer begins with the name.
    pub async fn named(name: &str) -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut command = pinned(OTHER_CORE, &std::env::current_exe()?.display().to_string());
        command.args(["backend", "--listen", &address.to_string(), "--name", name]);
        Ok(Self { _server: Server::start(command, address.to_string()).await?, address })
    }
}

pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(StdListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

/// Serves for ever.
pub async fn serve(listen: SocketAddr, name: &str) -> anyhow::Result<()> {
    let answer = |body: &[u8]| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    let mut small = name.as_bytes().to_vec();
    small.resize(SMALL_BYTES, b'.');
    let answers: &'static [Vec<u8>; 2] = Box::leak(Box::new([answer(&small), answer(&[b'x'; LARGE_BYTES])]));
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A proxy that closes a connection is what ends one.
            let _closed = converse(stream, answers).await;
        });
    }
}

/// Requests without a body, one after the other or at once.
async fn converse(mut stream: TcpStream, [small, large]: &'static [Vec<u8>; 2]) -> std::io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    while stream.read_buf(&mut buffer).await? > 0 {
        while let Some(end) = buffer.windows(HEAD_END.len()).position(|window| window == HEAD_END) {
            let is_large = buffer.starts_with(b"GET /large ");
            buffer.drain(..end + HEAD_END.len());
            stream.write_all(if is_large { large } else { small }).await?;
        }
    }
    Ok(())
}
