//! Clients of a floating address: one request after the other, each answered or counted as failed.

use netlab::Node;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// A first SYN that is not heard is repeated after one second, the next after two more.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(2500);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Of each client.
const PACE: Duration = Duration::from_millis(4);
const ANSWER_BYTES_MAX: usize = 8 << 10;

/// What is asked again and again.
#[derive(Clone, Copy)]
pub struct Ask {
    pub to: SocketAddr,
    pub host: &'static str,
    /// How an answer begins, in small letters.
    pub answer: &'static str,
}

/// Two clients for each address, until told to stop: one keeps its connection as long as it may, one brings a new one.
pub struct Clients {
    stop: Arc<AtomicBool>,
    running: Vec<JoinHandle<Tally>>,
}

#[derive(Debug, Default)]
pub struct Tally {
    pub answered: u64,
    pub failed: Vec<String>,
    /// GETs that were sent again because the connection was closed before any byte of an answer (RFC 9110, section 9.2.2).
    pub repeated: u64,
    pub slowest: Duration,
}

impl Clients {
    pub fn start(node: &Node, asks: impl Iterator<Item = Ask>) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let mut running = Vec::new();
        for ask in asks {
            for keeps in [false, true] {
                let (node, stop) = (node.clone(), stop.clone());
                running.push(tokio::spawn(async move { node.run(move || repeat(ask, keeps, &stop)).await.unwrap() }));
            }
        }
        Self { stop, running }
    }

    pub async fn end(mut self) -> Tally {
        self.stop.store(true, Relaxed);
        let mut all = Tally::default();
        for running in self.running.drain(..) {
            let one = running.await.unwrap();
            all.answered += one.answered;
            all.failed.extend(one.failed);
            all.repeated += one.repeated;
            all.slowest = all.slowest.max(one.slowest);
        }
        all
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

fn repeat(ask: Ask, keeps: bool, stop: &AtomicBool) -> Tally {
    let Ask { to, .. } = ask;
    let (mut tally, mut kept) = (Tally::default(), None);
    while !stop.load(Relaxed) {
        let asked_at = Instant::now();
        let connect = || TcpStream::connect_timeout(&to, CONNECT_TIMEOUT);
        let mut answer = kept.take().map_or_else(connect, Ok).and_then(|connection| request(connection, ask));
        if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::UnexpectedEof) {
            tally.repeated += 1;
            answer = connect().and_then(|connection| request(connection, ask));
        }
        match answer {
            Ok((connection, may_be_kept)) => {
                tally.answered += 1;
                kept = (keeps && may_be_kept).then_some(connection);
            }
            Err(error) => tally.failed.push(format!("{to}: {error}")),
        }
        tally.slowest = tally.slowest.max(asked_at.elapsed());
        std::thread::park_timeout(PACE.saturating_sub(asked_at.elapsed()));
    }
    tally
}

/// Whether the connection may be used again.
fn request(mut connection: TcpStream, ask: Ask) -> io::Result<(TcpStream, bool)> {
    connection.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    write!(connection, "GET / HTTP/1.1\r\nhost: {}\r\n\r\n", ask.host)?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if body.len() >= length.unwrap_or_default() {
                if !head.starts_with(ask.answer) {
                    return Err(io::Error::other(head.to_owned()));
                }
                return Ok((connection, !head.contains("connection: close")));
            }
        }
        let read = connection.read(&mut buffer)?;
        if read == 0 && answer.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if read == 0 || answer.len() > ANSWER_BYTES_MAX {
            return Err(io::Error::other(format!("an answer of {} bytes: {text}", answer.len())));
        }
        answer.extend_from_slice(&buffer[..read]);
    }
}
