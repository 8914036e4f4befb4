//! How VRRP is spoken, as an operator chooses it: the role's flags, and the virtual routers that come of them.

use crate::config::IpNetwork;
use crate::up::parse_time;
use ::vip::{Checksum, FloatingAddress, GarpPolicy, OWNER_PRIORITY, Password, VRID_FIRST, Version, VirtualRouter};
use lifecycle::ErrorChain;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

/// VRRP's own (RFC 3768, section 5.3.7), and the shortest that version 2 can say.
const ADVERT_INTERVAL_V2: Duration = Duration::from_secs(1);

// What is absent is as a cluster of ours has it.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Vrrp {
    /// The virtual router id of the first address, 1 to 255; those of the others count up, in the order of the addresses
    /// [default: 100]
    #[arg(long, value_name = "NUMBER", help_heading = "VRRP")]
    pub vrid: Option<u8>,
    /// Version 2 (RFC 3768: IPv4 and whole seconds) or 3 (RFC 9568) [default: 3]
    #[arg(id = "vrrp", long, value_name = "VERSION", value_parser = parse_version, help_heading = "VRRP")]
    pub version: Option<Version>,
    /// Time between two advertisements [default: 100ms; 1s of version 2]
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "VRRP")]
    pub advert: Option<Duration>,
    /// Speak to these instead of the multicast group (repeatable); this machine's own is left out
    #[arg(long = "peer", value_name = "ADDRESS", help_heading = "VRRP")]
    pub peers: Vec<IpAddr>,
    /// Of every address, 1 to 254, or 255 for the owner; nothing is spread then [default: 100 to 200, by the names of the
    /// machine and the address]
    #[arg(long, value_name = "NUMBER", help_heading = "VRRP")]
    pub priority: Option<u8>,
    /// Take an address from a holder of lower priority; nothing is spread then
    #[arg(long, help_heading = "VRRP")]
    pub preempt: bool,
    /// How long such a holder is left alone
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "preempt", help_heading = "VRRP")]
    pub preempt_delay: Option<Duration>,
    /// What version 3 sends over IPv4, both are accepted: `with-pseudo-header`, or `rfc9568` (keepalived:
    /// v3_checksum_as_v2) [default: with-pseudo-header]
    #[arg(long, value_name = "FORM", value_parser = parse_checksum, help_heading = "VRRP")]
    pub checksum: Option<Checksum>,
    /// Version 2's password, up to 8 bytes, which everyone on the network can read
    #[arg(long, value_name = "PASSWORD", value_parser = parse_password, help_heading = "VRRP")]
    #[arg(env = "ROADSTEAD_VIP_AUTH", hide_env_values = true)]
    pub auth: Option<Password>,
    /// Gratuitous ARPs (IPv6: Neighbor Advertisements) at a takeover [default: 5]
    #[arg(long, value_name = "NUMBER", help_heading = "VRRP")]
    pub garp_burst: Option<u8>,
    /// The same again this much later; 0s: not [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "VRRP")]
    pub garp_repeat_after: Option<Duration>,
    /// Then one every so often, at least 1s; 0s: none [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "VRRP")]
    pub garp_refresh: Option<Duration>,
    /// As many when a holder of lower priority was heard [default: 5]
    #[arg(long, value_name = "NUMBER", help_heading = "VRRP")]
    pub garp_lower_priority_burst: Option<u8>,
}

/// The addresses of one virtual router, of one family. Over IPv6 the first should be link-local (RFC 9568, section 5.2.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(Vec<IpNetwork>);

/// The machine whose routers these are.
pub struct Place<'a> {
    pub node: &'a str,
    pub own: Option<IpAddr>,
    pub interface: &'a str,
}

/// A flag, without its dashes, and why it cannot be so.
#[derive(Debug, thiserror::Error)]
#[error("--{flag}: {why}")]
pub struct Refused {
    pub flag: &'static str,
    pub why: String,
}

impl Vrrp {
    /// Whether ranks say who holds an address. Then nothing is spread: what one does the other would undo.
    pub fn ranks(&self) -> bool {
        self.priority.is_some() || self.preempt
    }

    /// One for each of the addresses.
    pub fn routers(&self, place: &Place<'_>, addresses: &[Addresses]) -> Result<Vec<VirtualRouter>, Refused> {
        let refuse = |flag, why: String| Err(Refused { flag, why });
        let floating: Vec<FloatingAddress> = addresses.iter().filter_map(|one| one.first(place.interface)).collect();
        let spread = ::vip::spread(place.node, self.vrid.unwrap_or(VRID_FIRST), &floating);
        let has_router = |one: &FloatingAddress| spread.iter().any(|router| router.addresses[0].0 == one.address);
        if let Some(left) = floating.iter().find(|one| !has_router(one)) {
            return refuse("vrid", format!("no id is left for {}: the last is 255", left.address));
        }
        let peers: Vec<IpAddr> = self.peers.iter().copied().filter(|peer| Some(*peer) != place.own).collect();
        if peers.is_empty() && !self.peers.is_empty() {
            return refuse("peer", "name another machine than this one".to_owned());
        }
        let of_a_router = |peer: &IpAddr| floating.iter().any(|one| one.address.is_ipv4() == peer.is_ipv4());
        if let Some(peer) = peers.iter().find(|peer| !of_a_router(peer)) {
            return refuse("peer", format!("{peer} is of another family than the addresses"));
        }
        let is_v4 = |one: &FloatingAddress| one.address.is_ipv4();
        if self.checksum.is_some() && (self.version == Some(Version::V2) || !floating.iter().any(is_v4)) {
            return refuse("checksum", "only version 3 over IPv4 has two forms".to_owned());
        }
        let mut routers = Vec::new();
        for router in spread {
            let router = self.router(router, addresses, &peers);
            let first = router.addresses[0].0;
            if router.unicast_peers.is_empty() && !peers.is_empty() {
                return refuse("peer", format!("none is of the family of {first}"));
            }
            if let Err(error) = router.validate() {
                return refuse(flag_of(error.field()), ErrorChain(&error).to_string());
            }
            routers.push(router);
        }
        Ok(routers)
    }

    fn router(&self, router: VirtualRouter, addresses: &[Addresses], peers: &[IpAddr]) -> VirtualRouter {
        let first = router.addresses[0].0;
        let all = addresses.iter().find(|all| all.0.first().is_some_and(|network| network.address == first));
        let all = all.into_iter().flat_map(|all| &all.0).map(|network| (network.address, network.prefix));
        let version = self.version.unwrap_or(Version::V3);
        let advert = match version {
            Version::V2 => ADVERT_INTERVAL_V2,
            Version::V3 => ::vip::ADVERT_INTERVAL,
        };
        VirtualRouter {
            addresses: all.collect(),
            priority: self.priority.unwrap_or(router.priority),
            advert_interval: self.advert.unwrap_or(advert),
            version,
            unicast_peers: peers.iter().copied().filter(|peer| peer.is_ipv4() == first.is_ipv4()).collect(),
            // An owner always does (RFC 9568, section 6.1).
            preempt: self.preempt || self.priority == Some(OWNER_PRIORITY),
            preempt_delay: self.preempt_delay.unwrap_or_default(),
            checksum: self.checksum.unwrap_or_default(),
            auth: self.auth,
            garp: self.garp(),
            ..router
        }
    }

    fn garp(&self) -> GarpPolicy {
        let usual = GarpPolicy::default();
        let or = |time: Option<Duration>, usual| time.map_or(usual, |time| Some(time).filter(|time| !time.is_zero()));
        GarpPolicy {
            burst: self.garp_burst.unwrap_or(usual.burst),
            repeat_after: or(self.garp_repeat_after, usual.repeat_after),
            refresh: or(self.garp_refresh, usual.refresh),
            lower_priority_burst: self.garp_lower_priority_burst.unwrap_or(usual.lower_priority_burst),
        }
    }
}

impl From<IpNetwork> for Addresses {
    fn from(network: IpNetwork) -> Self {
        Self(vec![network])
    }
}

impl FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl Addresses {
    /// By which the router is known: its id and its hashed priority are this one's.
    fn first(&self, interface: &str) -> Option<FloatingAddress> {
        let network = self.0.first()?;
        let interface = interface.to_owned();
        Some(FloatingAddress { address: network.address, prefix: network.prefix, interface })
    }
}

/// The flag that sets a field of [`VirtualRouter`].
fn flag_of(field: &'static str) -> &'static str {
    match field {
        "interface" => "own",
        "addresses" => "address",
        "unicast_peers" => "peer",
        "version" => "vrrp",
        "advert_interval" => "advert",
        // All else about announcements goes.
        "garp" => "garp-refresh",
        same => same,
    }
}

fn parse_version(text: &str) -> Result<Version, String> {
    match text {
        "2" => Ok(Version::V2),
        "3" => Ok(Version::V3),
        _ => Err(format!("expected 2 or 3, not `{text}`")),
    }
}

fn parse_checksum(text: &str) -> Result<Checksum, String> {
    match text {
        "with-pseudo-header" => Ok(Checksum::WithPseudoHeader),
        "rfc9568" => Ok(Checksum::Rfc9568),
        _ => Err(format!("expected with-pseudo-header or rfc9568, not `{text}`")),
    }
}

/// Padded with zeros, as keepalived does.
fn parse_password(text: &str) -> Result<Password, String> {
    let mut password = [0; 8];
    let place = password.get_mut(..text.len()).filter(|place| !place.is_empty());
    place.ok_or("expected 1 to 8 bytes")?.copy_from_slice(text.as_bytes());
    Ok(Password(password))
}

#[cfg(test)]
mod tests;
