//! What the configuration says of floating addresses, checked as their role would.

use super::{Cluster, ConfigError, IpNetwork};
use crate::role::vrrp::{Addresses, Place, Refused, Vrrp};
use ::vip::Version;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Stands for the address, where none is named yet: the settings are checked all the same.
const NO_VIP: IpNetwork = IpNetwork { address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), prefix: 32 };

pub fn check(cluster: &Cluster) -> Result<(), ConfigError> {
    let version = match cluster.vip_vrrp {
        2 => Version::V2,
        3 => Version::V3,
        other => return Err(ConfigError::Usage(format!("--vip-vrrp is 2 or 3, not {other}"))),
    };
    let no_vip = cluster.vips.is_empty();
    let vrrp = Vrrp {
        vrid: Some(cluster.vip_vrid),
        version: Some(version),
        advert: Some(Duration::from_millis(cluster.vip_advert_ms)),
        peers: if no_vip { Vec::new() } else { cluster.vip_peers.clone() },
        ..Vrrp::default()
    };
    let vips = if no_vip { &[NO_VIP][..] } else { &cluster.vips };
    let vips: Vec<Addresses> = vips.iter().copied().map(Addresses::from).collect();
    let place = Place { node: &cluster.name, own: cluster.address, interface: "of --address" };
    let refused = |Refused { flag, why }| match flag {
        "address" => format!("--vip: {why}"),
        flag => format!("--vip-{flag}: {why}"),
    };
    vrrp.routers(&place, &vips).map(drop).map_err(|error| ConfigError::Usage(refused(error)))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn what_a_cluster_chooses_of_vrrp_is_checked_before_it_begins() {
        let check =
            |lines: &str| Config::parse(&format!("[cluster]\naddress = \"10.0.0.11\"\n{lines}\n")).unwrap().check();
        let vip = "vips = [\"10.0.0.100/24\"]";
        for sound in
            ["vip_vrid = 255", "vip_vrrp = 2\nvip_advert_ms = 1000", "vip_peers = [\"10.0.0.11\", \"10.0.0.12\"]"]
        {
            check(&format!("{vip}\n{sound}")).unwrap_or_else(|error| panic!("{sound}: {error}"));
        }
        for (wrong, told) in [
            ("vip_advert_ms = 5", "--vip-advert: "),
            ("vip_advert_ms = 15", "centiseconds"),
            ("vip_vrid = 0", "--vip-vrid: "),
            ("vip_vrrp = 4", "--vip-vrrp is 2 or 3"),
            ("vip_vrrp = 2", "whole seconds"),
        ] {
            for lines in [wrong.to_owned(), format!("{vip}\n{wrong}")] {
                let error = check(&lines).unwrap_err().to_string();
                assert!(error.contains(told), "{wrong}: {error}");
            }
        }
        for (wrong, told) in [
            (
                "vips = [\"10.0.0.100/24\", \"10.0.0.101/24\"]\nvip_vrid = 255",
                "--vip-vrid: no id is left for 10.0.0.101",
            ),
            ("vips = [\"10.0.0.100/24\"]\nvip_peers = [\"10.0.0.11\"]", "--vip-peer: name another machine"),
            ("vips = [\"10.0.0.100/24\"]\nvip_peers = [\"fe80::1\"]", "--vip-peer: fe80::1 is of another family"),
            ("vips = [\"fd00::1/64\"]\nvip_vrrp = 2\nvip_advert_ms = 1000", "--vip-vrrp: "),
        ] {
            let error = check(wrong).unwrap_err().to_string();
            assert!(error.contains(told), "{wrong}: {error}");
        }
    }
}
