//! The listening sockets of this process: copies of those in use, to be handed over one day, and those that were handed over
//! to it until somebody asks for them.

use crate::servers::lock;
use serde::{Deserialize, Serialize};
use socket2::SockRef;
use std::io::{self, ErrorKind};
use std::mem;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use tokio::sync::OwnedMutexGuard;

#[derive(Debug, Default)]
pub(crate) struct Sockets {
    /// Of those in use; `None`: they will not be handed over.
    copies: Mutex<Option<Vec<Listener>>>,
    inherited: Mutex<Vec<Listener>>,
    /// Held while listeners open or close, or are handed over.
    changing: Arc<tokio::sync::Mutex<()>>,
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Use {
    /// Clients.
    Service,
    Api,
}

/// All sockets of one address.
#[derive(Debug)]
pub(super) struct Listener {
    pub of: Use,
    pub asked: SocketAddr,
    pub address: SocketAddr,
    pub sockets: Vec<TcpListener>,
}

impl Listener {
    /// Sockets that came from elsewhere: they must be what is said of them.
    pub fn received(of: Use, asked: SocketAddr, descriptors: Vec<OwnedFd>) -> io::Result<Self> {
        let sockets: Vec<TcpListener> = descriptors.into_iter().map(TcpListener::from).collect();
        let first = sockets.first().ok_or(ErrorKind::InvalidData)?.local_addr()?;
        for socket in &sockets {
            if !SockRef::from(socket).is_listener()? || socket.local_addr()? != first {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    "a descriptor is no listening socket of its listener",
                ));
            }
            socket.set_nonblocking(true)?;
        }
        Ok(Self { of, asked, address: first, sockets })
    }

    /// Port 0 means whichever it was.
    fn is_asked_by(&self, of: Use, asked: SocketAddr) -> bool {
        let is_any = asked.port() == 0 && self.asked.ip() == asked.ip();
        self.of == of && (self.asked == asked || self.address == asked || is_any)
    }
}

impl Sockets {
    /// `keeps`: they may be handed over.
    pub fn new(keeps: bool) -> Arc<Self> {
        Arc::new(Self { copies: Mutex::new(keeps.then(Vec::new)), ..Self::default() })
    }

    pub(super) fn inheriting(inherited: Vec<Listener>) -> Arc<Self> {
        let (copies, inherited) = (Mutex::new(Some(Vec::new())), Mutex::new(inherited));
        Arc::new(Self { copies, inherited, ..Self::default() })
    }

    /// While this is held nobody else opens or closes listeners, or hands them over: one that opened in the middle of that
    /// would be neither process' own.
    pub async fn change(&self) -> OwnedMutexGuard<()> {
        self.changing.clone().lock_owned().await
    }

    /// Those that were handed over for an address.
    pub fn take(&self, of: Use, asked: SocketAddr) -> Option<Vec<TcpListener>> {
        let inherited = &mut *lock(&self.inherited);
        let position = inherited.iter().position(|listener| listener.is_asked_by(of, asked))?;
        Some(inherited.remove(position).sockets)
    }

    /// Closes what nobody asked for.
    pub fn close_inherited(&self) {
        for listener in mem::take(&mut *lock(&self.inherited)) {
            tracing::info!(address = %listener.address, "is not listened on any more");
        }
    }

    /// Another time for a listener: more sockets of it.
    pub fn keep(&self, of: Use, asked: SocketAddr, sockets: &[TcpListener]) -> io::Result<()> {
        if let Some(copies) = &mut *lock(&self.copies)
            && let Some(first) = sockets.first()
        {
            let address = first.local_addr()?;
            let sockets = sockets.iter().map(TcpListener::try_clone).collect::<io::Result<Vec<_>>>()?;
            match copies.iter_mut().find(|listener| listener.of == of && listener.address == address) {
                Some(listener) => listener.sockets.extend(sockets),
                None => copies.push(Listener { of, asked, address, sockets }),
            }
        }
        Ok(())
    }

    /// So that the address is free once its users have closed theirs.
    pub fn forget(&self, address: SocketAddr) {
        if let Some(copies) = &mut *lock(&self.copies) {
            copies.retain(|listener| listener.address != address);
        }
    }

    pub fn forget_all(&self) {
        *lock(&self.copies) = None;
    }

    /// Copies of the copies.
    pub(super) fn to_hand_over(&self) -> io::Result<Vec<Listener>> {
        let copies = lock(&self.copies);
        let copy = |listener: &Listener| {
            let Listener { of, asked, address, ref sockets } = *listener;
            let sockets = sockets.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?;
            Ok(Listener { of, asked, address, sockets })
        };
        copies.iter().flatten().map(copy).collect()
    }
}
