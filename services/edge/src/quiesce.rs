//! Leaving an address without losing a request. When a floating address moves, the connections to it die: the machine that
//! has it next knows nothing of them. So before a planned move the edge becomes quiet:
//!
//! 1. [`CLOSING_TIME`] long every answer says `Connection: close`, and everything is still served. A client that uses its
//!    connection goes away by itself.
//! 2. New clients are not heard: a filter on the listening sockets drops their SYN, and only that. TCP sends it again after
//!    one second (RFC 6298, section 2.1), to whoever has the address then. Idle connections are closed, requests in flight
//!    end, for at most [`SHUT_MAX`].
//! 3. The caller gives the address up. [`HOLD_TIME`] later everything is as before.
//!
//! The second step and the move must be over within the second that a client's first SYN is repeated after.

use crate::metrics::Metrics;
use socket2::{SockFilter, SockRef};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

const CLOSING_TIME: Duration = Duration::from_secs(1);
const SHUT_MAX: Duration = Duration::from_millis(600);
/// For the address to go.
const HOLD_TIME: Duration = Duration::from_millis(300);
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Open,
    /// Answers end their connections.
    Closing,
    /// New clients are not heard, either.
    Shut,
}

pub(crate) struct Quiesce {
    phase: watch::Sender<Phase>,
    metrics: Arc<Metrics>,
    one_at_a_time: Mutex<()>,
    /// It does not open again.
    retired: AtomicBool,
}

impl Quiesce {
    pub fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            phase: watch::Sender::default(),
            metrics,
            one_at_a_time: Mutex::default(),
            retired: AtomicBool::new(false),
        })
    }

    pub fn phases(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Every answer closes its connection from now on.
    pub async fn retire(&self) {
        let _one_at_a_time = self.one_at_a_time.lock().await;
        self.retired.store(true, Relaxed);
        self.phase.send_replace(Phase::Closing);
    }

    /// Who idles after [`Quiesce::retire`] is sent away.
    pub fn end_idle(&self) {
        self.phase.send_replace(Phase::Shut);
    }

    /// Returns when the edge is quiet, or is not and will not be waited for: how many connections are left.
    pub async fn begin(self: &Arc<Self>) -> u64 {
        let _one_at_a_time = self.one_at_a_time.lock().await;
        // A caller that went away must not leave it shut.
        let reopen = Reopen(self.clone());
        self.phase.send_replace(Phase::Closing);
        tokio::time::sleep(CLOSING_TIME).await;
        self.phase.send_replace(Phase::Shut);
        let deadline = Instant::now() + SHUT_MAX;
        while self.metrics.connections() > 0 && Instant::now() < deadline {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        let left = self.metrics.connections();
        tracing::info!(connections = left, "quiet, for the address to move");
        tokio::spawn(async move {
            tokio::time::sleep(HOLD_TIME).await;
            drop(reopen);
        });
        left
    }
}

struct Reopen(Arc<Quiesce>);

impl Drop for Reopen {
    fn drop(&mut self) {
        let phase = if self.0.retired.load(Relaxed) { Phase::Closing } else { Phase::Open };
        self.0.phase.send_replace(phase);
    }
}

/// Drops each segment with the SYN flag (RFC 9293, section 3.1: the second bit of byte 13), and hears every other: those of
/// handshakes that have begun.
pub(crate) fn stop_hearing(listener: &TcpListener) -> io::Result<()> {
    const LOAD_BYTE: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
    const JUMP_IF_SET: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, 13),
        SockFilter::new(JUMP_IF_SET, 0, 1, 0x02),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

pub(crate) fn hear_again(listener: &TcpListener) -> io::Result<()> {
    match SockRef::from(listener).detach_filter() {
        // It has none: it never stopped.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        detached => detached,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_listener_that_stopped_hearing_takes_a_client_when_it_hears_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let _heard = TcpStream::connect(address).await.unwrap();
        stop_hearing(&listener).unwrap();
        let mut waiting = tokio::spawn(TcpStream::connect(address));
        assert!(timeout(Duration::from_millis(200), &mut waiting).await.is_err(), "neither accepted nor refused");
        hear_again(&listener).unwrap();
        waiting.await.unwrap().unwrap();
        hear_again(&listener).unwrap();
    }

    #[tokio::test]
    async fn it_closes_then_shuts_then_opens_again() {
        let quiesce = Quiesce::new(Arc::new(Metrics::new(Arc::default())));
        let mut phases = quiesce.phases();
        let beginning = tokio::spawn({
            let quiesce = quiesce.clone();
            async move { quiesce.begin().await }
        });
        for expected in [Phase::Closing, Phase::Shut, Phase::Open] {
            phases.changed().await.unwrap();
            assert_eq!(*phases.borrow_and_update(), expected);
        }
        assert_eq!(beginning.await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_leaves_it_open() {
        let quiesce = Quiesce::new(Arc::new(Metrics::new(Arc::default())));
        let left = timeout(CLOSING_TIME / 2, quiesce.begin()).await;
        assert!(left.is_err());
        assert_eq!(*quiesce.phases().borrow(), Phase::Open);
    }
}
