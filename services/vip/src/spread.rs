//! Several addresses over the nodes, so that no edge idles.
//!
//! **Who is next** when a holder is gone, each node works out for itself, without a word: rendezvous hashing makes a
//! priority of the names of the node and the address, so a dead node's addresses go to different nodes. These priorities
//! take nothing from a holder that serves, since every move breaks connections.
//!
//! **Who should have fewer** is another matter: a founder holds everything before the others join, and after a failure the
//! survivors hold what they were next for. So ready nodes ask for what makes it even ([`plan`]), after a while ([`balance`]),
//! and a holder hands over as it does when it is drained ([`rounds`]). That needs the store; without one the addresses lie
//! where they fell.
//!
//! Rejected: preemption with a delay, which is never asked for and so cannot be made quiet first, and whose fixed ranks may
//! all favour one node; a fixed owner for each address, to whom it returns though the spread is even without.

pub(crate) mod balance;
mod plan;
pub(crate) mod rounds;

use crate::settings::VirtualRouter;
use std::net::IpAddr;

/// Priorities of ready nodes: well above what a node that is not ready falls to ([`crate::health`]).
const PRIORITY_MIN: u8 = 100;
const PRIORITY_MAX: u8 = 200;
/// That of a node that asks for an address. Far enough above the others: the skew from them is more than two timers' lateness.
pub(crate) const ASKING_PRIORITY: u8 = 254;
/// Where ids of virtual routers begin unless told otherwise: an operator's other routers rarely use these, they count up
/// from 1.
pub const VRID_FIRST: u8 = 100;

/// An address that floats over the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FloatingAddress {
    pub address: IpAddr,
    pub prefix: u8,
    /// The interface that carries it on this node.
    pub interface: String,
}

/// This node's virtual routers for the cluster's addresses, one for each. Every node must be given the same addresses,
/// in any order (only interfaces may differ), and the same first id; two equal priorities are told apart by VRRP itself. The
/// ids count up in the order of the addresses; addresses for whom none is left have no router.
pub fn spread(node: &str, first_vrid: u8, addresses: &[FloatingAddress]) -> Vec<VirtualRouter> {
    let mut ordered: Vec<&FloatingAddress> = addresses.iter().collect();
    ordered.sort_by_key(|floating| floating.address);
    ordered.dedup_by_key(|floating| floating.address);
    let vrids = first_vrid..=u8::MAX;
    let router = |(vrid, floating): (u8, &FloatingAddress)| VirtualRouter {
        vrid,
        interface: floating.interface.clone(),
        addresses: vec![(floating.address, floating.prefix)],
        priority: priority(node, floating.address),
        // Whoever should have it asks for it.
        preempt: false,
        ..VirtualRouter::default()
    };
    vrids.zip(ordered).map(router).collect()
}

fn priority(node: &str, address: IpAddr) -> u8 {
    let weight = plan::weight(&address.to_string(), node);
    PRIORITY_MIN + weight[0] % (PRIORITY_MAX - PRIORITY_MIN + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floating(count: u8) -> Vec<FloatingAddress> {
        let address = |last| FloatingAddress { address: [10, 0, 0, last].into(), prefix: 24, interface: "eth0".into() };
        (1..=count).map(address).collect()
    }

    #[test]
    fn nodes_agree_whatever_the_order() {
        let mut addresses = floating(5);
        let forward = spread("a", VRID_FIRST, &addresses);
        addresses.reverse();
        assert_eq!(forward, spread("a", VRID_FIRST, &addresses));
        let vrids: Vec<u8> = spread("b", VRID_FIRST, &addresses).iter().map(|router| router.vrid).collect();
        assert_eq!(vrids, [100, 101, 102, 103, 104]);
        assert_eq!(spread("b", 253, &addresses).len(), 3, "ids end at 255");
    }

    #[test]
    fn many_addresses_use_every_node() {
        let addresses = floating(30);
        let all = ["node-1", "node-2", "node-3"].map(|node| spread(node, VRID_FIRST, &addresses));
        let mut held = [0; 3];
        for ((one, two), three) in all[0].iter().zip(&all[1]).zip(&all[2]) {
            let priorities = [one.priority, two.priority, three.priority];
            let holder = (0..3).max_by_key(|node| priorities[*node]).unwrap();
            held[holder] += 1;
        }
        assert!(held.iter().all(|count| *count >= 5), "{held:?}");
        for router in all.iter().flatten() {
            router.validate().unwrap();
            assert!((PRIORITY_MIN..=PRIORITY_MAX).contains(&router.priority));
        }
    }
}
