//! The thread that places addresses: adds, renews, removes and announces them, and hears what others do to them.
//!
//! It is not the thread that speaks VRRP, because the kernel has one lock for all links and addresses: whoever takes it for
//! long (a namespace being removed) would else make a holder late with its advertisements, and so lose it the address.
//! Errands are done in the order they were sent, so an address is announced after it was added.

use crate::announce::Announcer;
use crate::link::{self, Link};
use crate::mailbox::{Mailbox, Sender, mailbox};
use crate::netlink::{Added, Heard, Netlink, Notifications, Placed, Said, Terms};
use crate::report::Reporter;
use crate::settings::VirtualRouter;
use crate::speaker::Letter;
use crate::vitals::Vitals;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use vrrp::ADDRESS_LIFETIME;

/// Announcements after an address was put back that somebody removed: the neighbours asked in vain meanwhile.
const RESTORED_BURST: u8 = 1;

/// How long notifications that fail are left alone: a real-time thread would do nothing else.
const DEAF_PAUSE_MS: u16 = 100;

/// What the keeper is asked to do; `router` counts as in the configuration.
#[derive(Debug)]
pub(crate) enum Errand {
    /// Add the router's addresses, or give them another lifetime.
    Place {
        router: usize,
    },
    Remove {
        router: usize,
    },
    Announce {
        router: usize,
        burst: u8,
    },
    /// Say how many packets the router's interface has received ([`Letter::Received`]).
    Count {
        router: usize,
    },
    /// Remove everything that was added, and end.
    End,
}

pub(crate) struct Keeper {
    routers: Vec<Kept>,
    errands: Mailbox<Errand>,
    netlink: Netlink,
    notifications: Notifications,
    announcer: Announcer,
    speaker: Sender<Letter>,
    reporter: Reporter,
}

/// The addresses of one virtual router.
struct Kept {
    interface: String,
    addresses: Vec<(IpAddr, u8)>,
    link: Option<Link>,
    /// Whether the speaker was told of the interface, there or not.
    told: bool,
    /// Whether the addresses are wanted now.
    held: bool,
    placed: HashMap<Placed, Added>,
    vitals: Arc<Vitals>,
}

/// Opened before any thread starts, so that what is not permitted is said at once.
pub(crate) fn open(
    routers: &[VirtualRouter],
    vitals: &[Arc<Vitals>],
    speaker: Sender<Letter>,
    reporter: Reporter,
) -> io::Result<(Sender<Errand>, Keeper)> {
    let (sender, errands) = mailbox()?;
    let kept = |(router, vitals): (&VirtualRouter, &Arc<Vitals>)| Kept {
        interface: router.interface.clone(),
        addresses: router.addresses.clone(),
        link: None,
        told: false,
        held: false,
        placed: HashMap::new(),
        vitals: vitals.clone(),
    };
    let keeper = Keeper {
        routers: routers.iter().zip(vitals).map(kept).collect(),
        errands,
        netlink: Netlink::open()?,
        notifications: Notifications::open()?,
        announcer: Announcer::open()?,
        speaker,
        reporter,
    };
    Ok((sender, keeper))
}

impl Keeper {
    /// Until [`Errand::End`].
    pub fn run(mut self) {
        self.look_at_links();
        let mut hears = true;
        loop {
            self.wait(hears);
            while let Some(errand) = self.errands.next() {
                match errand {
                    Errand::Place { router } => self.place(router),
                    Errand::Remove { router } => self.remove(router),
                    Errand::Announce { router, burst } => self.announce(router, burst),
                    Errand::Count { router } => self.count(router),
                    Errand::End => return self.end(),
                }
            }
            hears = self.hear();
        }
    }

    /// For errands and notifications; notifications that fail are left alone for a while.
    fn wait(&self, hears: bool) {
        let errands = PollFd::new(self.errands.as_fd(), PollFlags::POLLIN);
        let notifications = PollFd::new(self.notifications.as_fd(), PollFlags::POLLIN);
        let waited = match hears {
            true => poll(&mut [errands, notifications], PollTimeout::NONE),
            false => poll(&mut [errands], DEAF_PAUSE_MS),
        };
        if let Err(error) = waited
            && error != nix::errno::Errno::EINTR
        {
            self.reporter.problem(None, format!("wait for errands: {error}"));
        }
    }

    fn end(&mut self) {
        for router in 0..self.routers.len() {
            self.remove(router);
        }
    }

    fn place(&mut self, router: usize) {
        let Some(kept) = self.routers.get_mut(router) else { return };
        kept.held = true;
        let Some(link) = &kept.link else { return };
        for &(address, prefix) in &kept.addresses {
            let placed = Placed { interface: link.index, address, prefix };
            // An address of the node's own has brought the route.
            let terms = Terms { lifetime: ADDRESS_LIFETIME, route: !link.is_within(address, prefix) };
            let result = match kept.placed.get(&placed) {
                Some(Added::Theirs) => continue,
                Some(Added::Ours) => self.netlink.refresh(placed, terms),
                None => self.netlink.add(placed, terms).map(|added| {
                    if added == Added::Theirs {
                        let theirs =
                            format!("{address} was configured by somebody else: left alone, also when given up");
                        self.reporter.problem(Some(router), theirs);
                    }
                    kept.placed.insert(placed, added);
                }),
            };
            if let Err(error) = result {
                self.reporter.problem(Some(router), format!("add {address}/{prefix} to {}: {error}", link.name));
            }
        }
    }

    fn remove(&mut self, router: usize) {
        let Some(kept) = self.routers.get_mut(router) else { return };
        kept.held = false;
        for (placed, added) in kept.placed.drain() {
            if added == Added::Ours
                && let Err(error) = self.netlink.remove(placed)
            {
                // The kernel drops it when its lifetime ends.
                self.reporter.problem(Some(router), format!("remove {}: {error}", placed.address));
            }
        }
    }

    fn announce(&mut self, router: usize, burst: u8) {
        let Some(kept) = self.routers.get(router) else { return };
        let Some(link) = &kept.link else { return };
        for _ in 0..burst {
            for (address, _) in &kept.addresses {
                match self.announcer.announce(link, *address) {
                    Ok(()) => kept.vitals.announcements.add_one(),
                    Err(error) => {
                        self.reporter.problem(Some(router), format!("announce {address}: {error}"));
                        return;
                    }
                }
            }
        }
    }

    fn count(&mut self, router: usize) {
        let Some(link) = self.routers.get(router).and_then(|kept| kept.link.as_ref()) else { return };
        match self.netlink.received(link.index) {
            Ok(packets) => {
                // Taken or not: the next reading comes soon, and without one the addresses stay.
                let _ = self.speaker.send(Letter::Received { router, packets });
            }
            Err(error) => {
                self.reporter.problem(Some(router), format!("count what {} receives: {error}", link.name));
            }
        }
    }

    /// Reads every waiting notification, then acts once. False when they cannot be read.
    fn hear(&mut self) -> bool {
        let (mut gone, mut look, mut hears) = (Vec::new(), false, true);
        loop {
            match self.notifications.hear() {
                Ok(Heard::Nothing) => break,
                Ok(Heard::Missed) => look = true,
                Ok(Heard::Said(said)) => {
                    for one in said {
                        match one {
                            Said::AddressGone(placed) if self.is_floating(placed) => gone.push(placed),
                            Said::Address { placed, .. } if self.is_floating(placed) => {}
                            Said::Address { .. } | Said::AddressGone(_) | Said::LinkChanged => look = true,
                            Said::Received { .. } | Said::Answer { .. } | Said::Done { .. } => {}
                        }
                    }
                }
                Err(error) => {
                    self.reporter.problem(None, format!("hear of changed addresses: {error}"));
                    hears = false;
                    break;
                }
            }
        }
        if look {
            self.look_at_links();
        }
        for placed in gone {
            self.restore(placed);
        }
        hears
    }

    fn is_floating(&self, placed: Placed) -> bool {
        self.routers.iter().any(|kept| kept.addresses.contains(&(placed.address, placed.prefix)))
    }

    /// Somebody removed an address that is wanted here (our own removals are no longer wanted).
    fn restore(&mut self, placed: Placed) {
        let of = |kept: &Kept| kept.held && kept.placed.contains_key(&placed);
        let Some(router) = self.routers.iter().position(of) else { return };
        self.routers[router].placed.remove(&placed);
        self.routers[router].vitals.restored.add_one();
        self.reporter.problem(Some(router), format!("{} was removed by somebody, and is put back", placed.address));
        self.place(router);
        self.announce(router, RESTORED_BURST);
    }

    /// Looks at each interface and tells the speaker what changed.
    fn look_at_links(&mut self) {
        for (router, kept) in self.routers.iter_mut().enumerate() {
            let found = match link::find(&kept.interface) {
                Ok(found) => found,
                Err(error) => {
                    self.reporter.problem(Some(router), format!("look at {}: {error}", kept.interface));
                    continue;
                }
            };
            // What floats comes and goes with the holder: no news.
            let found = found.map(|mut link| {
                link.addresses.retain(|address| !kept.addresses.iter().any(|(floating, _)| floating == address));
                link
            });
            if found != kept.link || !std::mem::replace(&mut kept.told, true) {
                let renamed = found.as_ref().map(|link| link.index) != kept.link.as_ref().map(|link| link.index);
                if renamed {
                    // Gone with its interface; or still there, under a name that is not ours.
                    for (placed, _) in kept.placed.drain().filter(|(_, added)| *added == Added::Ours) {
                        if let Err(error) = self.netlink.remove(placed) {
                            self.reporter.problem(Some(router), format!("remove {}: {error}", placed.address));
                        }
                    }
                }
                kept.link.clone_from(&found);
                if !self.speaker.send(Letter::Link { router, link: found }) {
                    self.reporter.problem(Some(router), "the speaker takes no letters".to_owned());
                }
            }
        }
    }
}
