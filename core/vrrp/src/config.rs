//! How a virtual router is set up, and which advertisements concern it.

use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

use crate::packet::{self, Advertisement, Checksum, EncodeError, Family, Password, Version};
use crate::timing::{
    DEFAULT_ADVERT_INTERVAL, DEFAULT_DOWN_TIMER_ADVERTS, DEFAULT_GARP_BURST, DEFAULT_GARP_REPEAT_AFTER,
    DEFAULT_PRIORITY,
};

/// One virtual router on one interface. All routers of a virtual router should agree in everything but the priority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterConfig {
    /// 1 to 255.
    pub vrid: u8,
    pub family: Family,
    pub version: Version,
    /// 1 to 254, or 255 for the owner of the addresses.
    pub priority: u8,
    pub advert_interval: Duration,
    /// Take the addresses from a holder of lower priority.
    pub preempt: bool,
    /// How long such a holder is left alone, counted from its first advertisement.
    pub preempt_delay: Duration,
    /// Of the family, 1 to 255; over IPv6 a link-local one first.
    pub addresses: Vec<IpAddr>,
    /// What is sent. Both forms are accepted.
    pub checksum: Checksum,
    /// Version 2's password, in the clear.
    pub auth: Option<Password>,
    pub down_timer_adverts: u32,
    pub garp: GarpPolicy,
    /// There is a store to ask: emit [`crate::Effect::AskFence`].
    pub fenced: bool,
}

/// When the neighbours are told: gratuitous ARP, and unsolicited Neighbor Advertisements over IPv6. keepalived's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GarpPolicy {
    /// Announcements at the takeover.
    pub burst: u8,
    /// A second burst this much later.
    pub repeat_after: Option<Duration>,
    /// Then one announcement every so often, for networks that forget.
    pub refresh: Option<Duration>,
    /// Announcements when a holder of lower priority was heard, whose own may have misled the neighbours.
    pub lower_priority_burst: u8,
}

impl Default for GarpPolicy {
    fn default() -> Self {
        GarpPolicy {
            burst: DEFAULT_GARP_BURST,
            repeat_after: Some(DEFAULT_GARP_REPEAT_AFTER),
            refresh: None,
            lower_priority_burst: DEFAULT_GARP_BURST,
        }
    }
}

/// Why a setup is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    #[error("virtual router cannot be advertised")]
    Advertisement(#[source] EncodeError),
    #[error("priority is 0, must be 1 to 255 (0 is how a holder resigns)")]
    Priority,
    #[error("a backup must miss at least one advertisement before it takes over")]
    DownTimerAdverts,
    #[error("address {address} is not of the family {family:?}")]
    Family { address: IpAddr, family: Family },
}

/// Why a sound advertisement is not for this router. [`Mismatch::Vrid`] is everyday life on a shared network; the others
/// are a setup that differs between routers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Mismatch {
    #[error("virtual router id is {found}, ours is {ours}")]
    Vrid { found: u8, ours: u8 },
    #[error("version is {found:?}, ours is {ours:?}")]
    Version { found: Version, ours: Version },
    #[error("family of the addresses is not ours")]
    Family,
    #[error("authentication data is not ours")]
    Auth,
    #[error("advertisement interval is {found:?}, ours is {ours:?}: version 2 wants them equal")]
    Interval { found: Duration, ours: Duration },
}

impl RouterConfig {
    /// A router of version 3 with the defaults of RFC 9568, for addresses of one family.
    pub fn new(vrid: u8, addresses: Vec<IpAddr>) -> RouterConfig {
        RouterConfig {
            vrid,
            family: addresses.first().map_or(Family::V4, |&address| Family::of(address)),
            version: Version::V3,
            priority: DEFAULT_PRIORITY,
            advert_interval: DEFAULT_ADVERT_INTERVAL,
            preempt: true,
            preempt_delay: Duration::ZERO,
            addresses,
            checksum: Checksum::default(),
            auth: None,
            down_timer_adverts: DEFAULT_DOWN_TIMER_ADVERTS,
            garp: GarpPolicy::default(),
            fenced: false,
        }
    }

    /// What this router says, with the priority of the moment.
    pub fn advertisement(&self, priority: u8) -> Advertisement {
        Advertisement {
            version: self.version,
            vrid: self.vrid,
            priority,
            interval: self.advert_interval,
            addresses: self.addresses.clone(),
            auth: self.auth,
        }
    }

    /// Whether an advertisement is meant for this router. [`crate::Router`] ignores those that are not; a shell asks to
    /// count and to log them.
    pub fn check(&self, packet: &Advertisement) -> Result<(), Mismatch> {
        if packet.vrid != self.vrid {
            return Err(Mismatch::Vrid { found: packet.vrid, ours: self.vrid });
        }
        if packet.version != self.version {
            return Err(Mismatch::Version { found: packet.version, ours: self.version });
        }
        if packet.addresses.iter().any(|&address| Family::of(address) != self.family) {
            return Err(Mismatch::Family);
        }
        if packet.auth != self.auth {
            return Err(Mismatch::Auth);
        }
        if self.version == Version::V2 && packet.interval != self.advert_interval {
            return Err(Mismatch::Interval { found: packet.interval, ours: self.advert_interval });
        }
        Ok(())
    }

    /// Whether an advertisement names our addresses, in any order. One that does not is still followed (RFC 9568 §7.1
    /// leaves it open; keepalived drops it): two holders of the common addresses would be worse. Worth a warning.
    pub fn same_addresses(&self, packet: &Advertisement) -> bool {
        packet.addresses.len() == self.addresses.len()
            && packet.addresses.iter().all(|address| self.addresses.contains(address))
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if let Some(&address) = self.addresses.iter().find(|&&address| Family::of(address) != self.family) {
            return Err(ConfigError::Family { address, family: self.family });
        }
        if self.priority == 0 {
            return Err(ConfigError::Priority);
        }
        if self.down_timer_adverts == 0 {
            return Err(ConfigError::DownTimerAdverts);
        }
        let group = self.family.group();
        packet::encode(&self.advertisement(self.priority), group, group, self.checksum)
            .map_err(ConfigError::Advertisement)?;
        Ok(())
    }
}
