//! Who has how much of the disk. A room is taken from by bytes or by files; of each kind there is one for all, one for each
//! client and one for each route, and a body takes from all three.

use super::SpoolError;
use crate::limits::{BUFFERED_CLIENT_PART, BUFFERED_FILES_MAX, BUFFERED_ROUTE_PART};
use crate::servers::lock;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};

#[derive(Debug)]
pub(super) struct Room {
    used: AtomicU64,
    max: u64,
}

/// Whose a body is.
#[derive(Debug)]
pub(crate) struct Owner {
    pub client: IpAddr,
    pub route: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Holder {
    Client(IpAddr),
    Route(Box<str>),
}

/// What a client, a route, or all of them may have.
#[derive(Debug)]
pub(super) struct Share {
    pub bytes: Room,
    pub files: Room,
}

/// Of those who have something.
#[derive(Debug)]
pub(super) struct Shares {
    pub all: Arc<Share>,
    known: Mutex<HashMap<Holder, Weak<Share>>>,
}

/// What one body has of the disk, as long as its file is open or is waited for: who gives up a body whose bytes a slow disk
/// has not taken has them still.
#[derive(Debug)]
pub(super) struct Place {
    /// Of its client, of its route, and of all.
    shares: [Arc<Share>; 3],
    bytes: AtomicU64,
}

impl Room {
    pub fn new(max: u64) -> Self {
        Self { used: AtomicU64::new(0), max }
    }

    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Whether there was that much.
    pub fn take(&self, count: u64) -> bool {
        let more = |used: u64| used.checked_add(count).filter(|used| *used <= self.max);
        self.used.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    pub fn give_back(&self, count: u64) {
        self.used.fetch_sub(count, Relaxed);
    }
}

impl Share {
    fn new(bytes: u64, files: u64) -> Arc<Self> {
        Arc::new(Self { bytes: Room::new(bytes), files: Room::new(files) })
    }

    /// Of what there is for all.
    fn part(&self, part: u64) -> Arc<Self> {
        Self::new(self.bytes.max / part, (self.files.max / part).max(1))
    }
}

impl Place {
    /// For a file, without a byte yet.
    fn new(shares: [Arc<Share>; 3]) -> Result<Self, SpoolError> {
        take_all(shares.each_ref().map(|share| &share.files), 1)?;
        Ok(Self { shares, bytes: AtomicU64::new(0) })
    }

    pub fn take(&self, bytes: u64) -> Result<(), SpoolError> {
        take_all(self.shares.each_ref().map(|share| &share.bytes), bytes)?;
        self.bytes.fetch_add(bytes, Relaxed);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken_bytes = *self.bytes.get_mut();
        for share in &self.shares {
            share.bytes.give_back(taken_bytes);
            share.files.give_back(1);
        }
    }
}

/// Takes from the rooms of a client, of a route and of all, or from none.
fn take_all(rooms: [&Room; 3], count: u64) -> Result<(), SpoolError> {
    const SHORT_OF: [fn() -> SpoolError; 3] =
        [|| SpoolError::ClientShare, || SpoolError::RouteShare, || SpoolError::Full];
    for (position, room) in rooms.iter().enumerate() {
        if !room.take(count) {
            rooms[..position].iter().for_each(|room| room.give_back(count));
            return Err(SHORT_OF[position]());
        }
    }
    Ok(())
}

impl Owner {
    pub fn new(client: IpAddr, route: &str) -> Self {
        Self { client: network(client), route: route.into() }
    }
}

/// Of IPv6 a client has a network of 64 bits (RFC 6177), and any address in it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

impl Shares {
    pub fn of(bytes: u64, files: u64) -> Self {
        Self { all: Share::new(bytes, files), known: Mutex::default() }
    }

    /// For one more file.
    pub fn place(&self, owner: &Owner) -> Result<Arc<Place>, SpoolError> {
        Ok(Arc::new(Place::new(self.of_owner(owner))?))
    }

    fn of_owner(&self, owner: &Owner) -> [Arc<Share>; 3] {
        let known = &mut *lock(&self.known);
        // Each who has something has a file.
        if known.len() > 4 * BUFFERED_FILES_MAX as usize {
            known.retain(|_, share| share.strong_count() > 0);
        }
        let mut share = |holder: Holder, part: u64| {
            if let Some(share) = known.get(&holder).and_then(Weak::upgrade) {
                return share;
            }
            let share = self.all.part(part);
            known.insert(holder, Arc::downgrade(&share));
            share
        };
        [
            share(Holder::Client(owner.client), BUFFERED_CLIENT_PART),
            share(Holder::Route(owner.route.clone()), BUFFERED_ROUTE_PART),
            self.all.clone(),
        ]
    }
}
