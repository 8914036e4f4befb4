//! One virtual router as its operator describes it.

use std::net::IpAddr;
use std::time::Duration;
use vrrp::packet::EncodeError;
use vrrp::{Checksum, ConfigError, Family, GarpPolicy, Password, RouterConfig, Version};

/// How often a holder speaks unless told otherwise. VRRP's own default of 1 s makes for 3.6 s without an address;
/// at 100 ms it is 0.36 s, for ten packets of 46 bytes a second.
pub const ADVERT_INTERVAL: Duration = Duration::from_millis(100);
/// The VRRP default (RFC 9568 §6.1).
pub const PRIORITY: u8 = 100;
/// The shortest pause between announcements that only refresh: keepalived counts it in seconds, too.
const GARP_REFRESH_MIN: Duration = Duration::from_secs(1);

/// One virtual router: an interface, and the addresses that float between the nodes that run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualRouter {
    /// 1 to 255; the same on every node, and nobody else's on this network.
    pub vrid: u8,
    pub interface: String,
    /// Of one family, each with its prefix length. IPv6: the first should be link-local (RFC 9568 §5.2.9).
    pub addresses: Vec<(IpAddr, u8)>,
    /// 1 to 254; 255 is for the node whose own addresses these are.
    pub priority: u8,
    pub advert_interval: Duration,
    pub version: Version,
    /// Speak to these instead of the multicast group.
    pub unicast_peers: Vec<IpAddr>,
    /// Take the address from a holder of lower priority. Not for a cluster's own addresses: see [`crate::spread`].
    pub preempt: bool,
    /// How long after this node started to hear a holder of lower priority it is preempted.
    pub preempt_delay: Duration,
    /// Which of the two checksums version 3 sends over IPv4. Both are accepted.
    pub checksum: Checksum,
    /// Version 2's password (eight bytes, readable by everyone on the network).
    pub auth: Option<Password>,
    /// Advertisements that may be missed before a backup takes over.
    pub down_timer_adverts: u32,
    pub garp: GarpPolicy,
}

impl Default for VirtualRouter {
    fn default() -> Self {
        Self {
            vrid: 0,
            interface: String::new(),
            addresses: Vec::new(),
            priority: PRIORITY,
            advert_interval: ADVERT_INTERVAL,
            version: Version::V3,
            unicast_peers: Vec::new(),
            preempt: true,
            preempt_delay: Duration::ZERO,
            checksum: Checksum::default(),
            auth: None,
            down_timer_adverts: vrrp::DEFAULT_DOWN_TIMER_ADVERTS,
            garp: GarpPolicy::default(),
        }
    }
}

/// What is wrong with a virtual router.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("a virtual router needs the name of an interface")]
    NoInterface,
    #[error("a virtual router needs at least one address")]
    NoAddress,
    #[error("{address} has no prefix of {prefix} bits")]
    Prefix { address: IpAddr, prefix: u8 },
    #[error("the peer {peer} is not of the addresses' family")]
    Peer { peer: IpAddr },
    #[error("announcements every {refresh:?} are more often than every second")]
    Refresh { refresh: Duration },
    #[error("two virtual routers on {interface} have the same id and family")]
    Twice { interface: String },
    #[error("the virtual router's settings contradict VRRP")]
    Vrrp(#[source] ConfigError),
}

impl SettingsError {
    /// The field of [`VirtualRouter`] that is wrong.
    pub fn field(&self) -> &'static str {
        match self {
            Self::NoInterface => "interface",
            Self::NoAddress | Self::Prefix { .. } => "addresses",
            Self::Peer { .. } => "unicast_peers",
            Self::Refresh { .. } => "garp",
            Self::Twice { .. } => "vrid",
            Self::Vrrp(ConfigError::Priority) => "priority",
            Self::Vrrp(ConfigError::DownTimerAdverts) => "down_timer_adverts",
            Self::Vrrp(ConfigError::Family { .. }) => "addresses",
            Self::Vrrp(ConfigError::Advertisement(error)) => match error {
                EncodeError::Vrid => "vrid",
                EncodeError::Version => "version",
                EncodeError::Auth => "auth",
                EncodeError::Interval { .. } => "advert_interval",
                EncodeError::Families | EncodeError::Count { .. } => "addresses",
            },
        }
    }
}

impl VirtualRouter {
    pub(crate) fn family(&self) -> Family {
        self.addresses.first().map_or(Family::V4, |(address, _)| Family::of(*address))
    }

    /// The floating addresses without their prefixes.
    pub(crate) fn floating(&self) -> Vec<IpAddr> {
        self.addresses.iter().map(|(address, _)| *address).collect()
    }

    pub(crate) fn config(&self, fenced: bool) -> RouterConfig {
        RouterConfig {
            family: self.family(),
            version: self.version,
            priority: self.priority,
            advert_interval: self.advert_interval,
            preempt: self.preempt,
            preempt_delay: self.preempt_delay,
            checksum: self.checksum,
            auth: self.auth,
            down_timer_adverts: self.down_timer_adverts,
            garp: self.garp.clone(),
            fenced,
            ..RouterConfig::new(self.vrid, self.floating())
        }
    }

    /// Whether VRRP can say all of it.
    pub fn validate(&self) -> Result<(), SettingsError> {
        if self.interface.is_empty() {
            return Err(SettingsError::NoInterface);
        }
        if self.addresses.is_empty() {
            return Err(SettingsError::NoAddress);
        }
        for &(address, prefix) in &self.addresses {
            if prefix > if address.is_ipv4() { 32 } else { 128 } {
                return Err(SettingsError::Prefix { address, prefix });
            }
        }
        let family = self.family();
        if let Some(&peer) = self.unicast_peers.iter().find(|&&peer| Family::of(peer) != family) {
            return Err(SettingsError::Peer { peer });
        }
        if let Some(refresh) = self.garp.refresh.filter(|refresh| *refresh < GARP_REFRESH_MIN) {
            return Err(SettingsError::Refresh { refresh });
        }
        vrrp::Router::new(self.config(false), family.group()).map(|_| ()).map_err(SettingsError::Vrrp)
    }
}

/// All of them, and that no two are the same to their peers.
pub(crate) fn validate(routers: &[VirtualRouter]) -> Result<(), SettingsError> {
    for (position, router) in routers.iter().enumerate() {
        router.validate()?;
        let same = |other: &VirtualRouter| {
            (other.vrid, &other.interface, other.family()) == (router.vrid, &router.interface, router.family())
        };
        if routers.iter().skip(position + 1).any(same) {
            return Err(SettingsError::Twice { interface: router.interface.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router() -> VirtualRouter {
        let addresses = vec![("10.0.0.100".parse().unwrap(), 24)];
        VirtualRouter { vrid: 51, interface: "eth0".into(), addresses, ..VirtualRouter::default() }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        router().validate().unwrap();
        assert!(VirtualRouter { vrid: 0, ..router() }.validate().is_err());
        assert!(VirtualRouter { priority: 0, ..router() }.validate().is_err());
        assert!(VirtualRouter { addresses: Vec::new(), ..router() }.validate().is_err());
        let mixed = vec![("10.0.0.100".parse().unwrap(), 24), ("fe80::1".parse().unwrap(), 64)];
        assert!(VirtualRouter { addresses: mixed, ..router() }.validate().is_err());
        assert!(VirtualRouter { version: Version::V2, ..router() }.validate().is_err(), "version 2 counts seconds");
        let peers = vec!["fe80::2".parse().unwrap()];
        assert!(VirtualRouter { unicast_peers: peers, ..router() }.validate().is_err());
        assert!(validate(&[router(), router()]).is_err());
        validate(&[router(), VirtualRouter { vrid: 52, ..router() }]).unwrap();
    }
}
