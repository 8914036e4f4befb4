//! What idle connections cost: memory of the proxy with 5,000 of them, each of which has asked once.

use super::backend::Backend;
use super::proxy::{Face, HOST, Peer, Proxy};
use anyhow::{Context, bail};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 5_000;
const ANSWER_BYTES_MAX: usize = 4096;

pub async fn run() -> anyhow::Result<()> {
    let backend = Backend::start().await?;
    println!("memory (PSS) at the start, and with {CONNECTIONS} idle connections");
    let mut used = Vec::new();
    for peer in Peer::ALL {
        let proxy = Proxy::start(peer, &backend, Face::Plain).await?;
        let before = proxy.server.memory_mib()?;
        let mut connections = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            let mut connection = TcpStream::connect(proxy.address).await?;
            ask_on(&mut connection, HOST, "/").await?;
            connections.push(connection);
        }
        let after = proxy.server.memory_mib()?;
        let each = (after - before) * 1024.0 / CONNECTIONS as f64;
        println!("  {peer}: {before:.1} MiB, {after:.1} MiB; {each:.2} KiB per connection");
        used.push(after);
    }
    println!("  ratio to HAProxy {:.2}, wanted at most 1", used[0] / used[1]);
    Ok(())
}

/// One GET on a connection of its own; the answer's head and what came with it.
pub async fn ask(address: SocketAddr, host: &str, path: &str) -> anyhow::Result<String> {
    ask_on(&mut TcpStream::connect(address).await?, host, path).await
}

pub async fn ask_on(connection: &mut TcpStream, host: &str, path: &str) -> anyhow::Result<String> {
    connection.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    loop {
        if connection.read_buf(&mut answer).await? == 0 {
            bail!("the connection ended before an answer did");
        }
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if body.len() >= length.context("an answer has a length")? {
                return Ok(text.into_owned());
            }
        }
        if answer.len() > ANSWER_BYTES_MAX {
            bail!("an answer is longer than {ANSWER_BYTES_MAX} bytes");
        }
    }
}
