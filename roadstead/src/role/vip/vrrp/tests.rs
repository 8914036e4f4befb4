//! The flags of `roadstead vip`, as an operator gives them.

use super::{Addresses, Place, Refused, Vrrp};
use ::vip::{Checksum, Password, Version, VirtualRouter};
use clap::Parser;
use std::time::Duration;

#[derive(Parser)]
struct Line {
    #[arg(long = "address")]
    addresses: Vec<Addresses>,
    #[command(flatten)]
    vrrp: Vrrp,
}

const V4: &str = "10.0.0.100/24";
const V6: &str = "fe80::100/64,fd99::100/64";

fn line(addresses: &[&str], flags: &str) -> Result<Line, clap::Error> {
    let addresses = addresses.iter().flat_map(|address| ["--address", address]);
    Line::try_parse_from(["vip"].into_iter().chain(addresses).chain(flags.split_whitespace()))
}

fn routers(addresses: &[&str], flags: &str) -> Result<Vec<VirtualRouter>, Refused> {
    let line = line(addresses, flags).unwrap_or_else(|error| panic!("{flags}: {error}"));
    let place = Place { node: "a", own: "10.0.0.11".parse().ok(), interface: "eth0" };
    line.vrrp.routers(&place, &line.addresses)
}

fn router(address: &str, flags: &str) -> VirtualRouter {
    routers(&[address], flags).unwrap().remove(0)
}

#[test]
fn without_flags_it_is_as_in_a_cluster_of_ours() {
    let [first, second] = <[_; 2]>::try_from(routers(&["10.0.0.101/24", V4], "").unwrap()).unwrap();
    assert_eq!((first.vrid, second.vrid), (100, 101), "in the order of the addresses");
    assert_eq!(first.addresses, [("10.0.0.100".parse().unwrap(), 24)]);
    assert_eq!((first.version, first.advert_interval), (Version::V3, Duration::from_millis(100)));
    assert!((100..=200).contains(&first.priority) && !first.preempt && first.unicast_peers.is_empty());
    assert!(!line(&[V4], "").unwrap().vrrp.ranks());
}

#[test]
fn what_an_operator_chooses_is_what_the_virtual_router_does() {
    let flags = "--vrid 51 --priority 120 --preempt --preempt-delay 30s --advert 1s --checksum rfc9568 --garp-burst 3 \
                 --garp-repeat-after 0s --garp-refresh 60s --garp-lower-priority-burst 1";
    let one = router(V4, flags);
    assert_eq!((one.vrid, one.priority, one.preempt, one.preempt_delay.as_secs()), (51, 120, true, 30));
    assert_eq!((one.advert_interval, one.checksum), (Duration::from_secs(1), Checksum::Rfc9568));
    assert_eq!((one.garp.burst, one.garp.lower_priority_burst, one.garp.repeat_after), (3, 1, None));
    assert_eq!(one.garp.refresh, Some(Duration::from_secs(60)));
    assert!(line(&[V4], flags).unwrap().vrrp.ranks());
    assert_eq!(router(V4, "--garp-refresh 0s").garp, VirtualRouter::default().garp);

    let second = router(V4, "--vrrp 2 --auth secret");
    assert_eq!((second.version, second.advert_interval), (Version::V2, Duration::from_secs(1)), "its default");
    assert_eq!(second.auth, Some(Password(*b"secret\0\0")));
    assert!(format!("{second:?}").contains("auth: Some(Password(..))"), "it is not printed");

    let owner = router(V4, "--priority 255");
    assert!(owner.priority == 255 && owner.preempt, "an owner always preempts");
}

#[test]
fn addresses_with_commas_float_together() {
    let all = routers(&[V6, V4], "--vrid 7").unwrap();
    let told: Vec<_> = all.iter().map(|router| (router.vrid, router.addresses.len())).collect();
    assert_eq!(told, [(7, 1), (8, 2)]);
    assert_eq!(all[1].addresses[0].0.to_string(), "fe80::100");
}

#[test]
fn each_address_speaks_to_the_peers_of_its_family_but_not_to_itself() {
    let all = routers(&[V4, V6], "--peer 10.0.0.11 --peer 10.0.0.12 --peer fe80::12").unwrap();
    let peers: Vec<_> = all.iter().map(|router| router.unicast_peers.clone()).collect();
    assert_eq!(peers, [vec!["10.0.0.12".parse::<std::net::IpAddr>().unwrap()], vec!["fe80::12".parse().unwrap()]]);
}

#[test]
fn what_contradicts_vrrp_is_refused_by_the_flags_name() {
    let refused: [(&[&str], &str, &str); 14] = [
        (&[V4], "--vrid 0", "--vrid: "),
        (&[V4, "10.0.0.101/24"], "--vrid 255", "--vrid: no id is left for 10.0.0.101"),
        (&[V4], "--priority 0", "--priority: "),
        (&[V4], "--advert 15ms", "--advert: "),
        (&[V4], "--vrrp 2 --advert 100ms", "--advert: "),
        (&[V6], "--vrrp 2", "--vrrp: "),
        (&[V4], "--auth secret", "--auth: "),
        (&[V4], "--vrrp 2 --checksum rfc9568", "--checksum: "),
        (&[V6], "--checksum rfc9568", "--checksum: "),
        (&[V4], "--garp-refresh 10ms", "--garp-refresh: "),
        (&[V4], "--peer fe80::12", "--peer: fe80::12 is of another family"),
        (&[V4], "--peer 10.0.0.11", "--peer: name another machine"),
        (&[V4, V6], "--peer 10.0.0.12", "--peer: none is of the family of fe80::100"),
        (&["10.0.0.100/24,fe80::1/64"], "", "--address: "),
    ];
    for (addresses, flags, told) in refused {
        let error = routers(addresses, flags).unwrap_err().to_string();
        assert!(error.starts_with(told), "{flags}: {error}");
    }
    for wrong in [
        "--vrid 256",
        "--priority 256",
        "--vrrp 4",
        "--checksum md5",
        "--vrrp 2 --auth nine-bytes",
        "--auth=",
        "--preempt-delay 1s",
    ] {
        let error = line(&[V4], wrong).err().unwrap_or_else(|| panic!("{wrong} is taken")).to_string();
        let flag = wrong.rsplit("--").next().unwrap().split([' ', '=']).next().unwrap();
        assert!(error.contains(&format!("--{flag}")), "{wrong}: {error}");
    }
}
