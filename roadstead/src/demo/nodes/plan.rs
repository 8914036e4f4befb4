//! Which faults there are, in which order they come, and what each must cause. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How long [`Fault::Pause`] lasts.
pub const PAUSE: Duration = Duration::from_secs(2);

/// Nodes by number, from 1.
type Number = usize;

/// What is done to the cluster while clients go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL to every process of a node, its tasks and its supervisor among them; later it is started again.
    Kill(Number),
    /// A node's cable is pulled.
    Cut(Number),
    /// Nothing reaches the node that holds the address; what it says is heard.
    Deaf,
    /// Nothing the node that holds the address says is heard; it hears everything.
    Mute,
    /// The processes of the node that holds the address stand still for [`PAUSE`].
    Pause,
    /// SIGKILL to the leader of etcd.
    EtcdLeader,
    /// A node's platform is stopped and started again; its tasks go on.
    Restart(Number),
    /// The node that holds the address is drained, then restored.
    Drain,
    /// The app gets a new version.
    Roll,
    /// A node is drained, its platform stopped, and another copy of the binary started in its place.
    Upgrade(Number),
}

/// A series of faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Matrix {
    /// Each fault on each node
    #[default]
    Full,
    /// One of each kind, for a CI machine
    Small,
    /// The story only
    None,
}

const FULL: [Fault; 20] = [
    Fault::Kill(1),
    Fault::Kill(2),
    Fault::Kill(3),
    Fault::Cut(1),
    Fault::Cut(2),
    Fault::Cut(3),
    Fault::Mute,
    Fault::Deaf,
    Fault::Pause,
    Fault::EtcdLeader,
    Fault::Restart(1),
    Fault::Restart(2),
    Fault::Restart(3),
    Fault::Drain,
    Fault::Roll,
    Fault::Upgrade(1),
    Fault::Upgrade(2),
    Fault::Upgrade(3),
    // Once more, on the new binary.
    Fault::Kill(1),
    Fault::Roll,
];

const SMALL: [Fault; 9] = [
    Fault::Kill(1),
    Fault::Cut(2),
    Fault::Mute,
    Fault::Pause,
    Fault::EtcdLeader,
    Fault::Restart(3),
    Fault::Drain,
    Fault::Roll,
    Fault::Upgrade(1),
];

impl Matrix {
    /// These faults, unless a list names others.
    pub fn or_list(self, list: &[Fault]) -> Vec<Fault> {
        match (list, self) {
            ([], Self::Full) => FULL.to_vec(),
            ([], Self::Small) => SMALL.to_vec(),
            ([], Self::None) => Vec::new(),
            (list, _) => list.to_vec(),
        }
    }
}

/// What a fault happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// By its index, from 0.
    Node(usize),
    Holder,
    EtcdLeader,
    App,
}

/// What must be seen of a fault before it is undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The node's servers leave the route of every other node's edge.
    pub endpoints_out: bool,
    /// The node's tasks run elsewhere.
    pub tasks_elsewhere: bool,
    /// Another node holds the address.
    pub address_moved: bool,
}

impl Fault {
    /// Something an operator does, of which no client may notice anything.
    pub fn is_planned(self) -> bool {
        matches!(self, Self::Restart(_) | Self::Drain | Self::Roll | Self::Upgrade(_))
    }

    pub fn target(self) -> Target {
        match self {
            Self::Kill(number) | Self::Cut(number) | Self::Restart(number) | Self::Upgrade(number) => {
                Target::Node(number - 1)
            }
            Self::Deaf | Self::Mute | Self::Pause | Self::Drain => Target::Holder,
            Self::EtcdLeader => Target::EtcdLeader,
            Self::Roll => Target::App,
        }
    }

    /// What follows, given whether the node holds the address.
    pub fn expected(self, holds_address: bool) -> Expected {
        let leaves = Expected { endpoints_out: true, tasks_elsewhere: true, address_moved: holds_address };
        match self {
            Self::Kill(_) | Self::Cut(_) | Self::Deaf | Self::Mute | Self::Drain | Self::Upgrade(_) => leaves,
            // Too short for the second detector, and tasks outlive their platform.
            Self::Pause | Self::Restart(_) => Expected { address_moved: holds_address, ..Expected::default() },
            Self::EtcdLeader | Self::Roll => Expected::default(),
        }
    }

    /// For the report and the progress: what happens, in words.
    pub fn what(self) -> String {
        match self {
            Self::Kill(number) => format!("kill every process of node {number}, then start it again"),
            Self::Cut(number) => format!("cut the link of node {number}, then heal it"),
            Self::Deaf => "nothing reaches the node with the address, then heal it".into(),
            Self::Mute => "nothing comes from the node with the address, then heal it".into(),
            Self::Pause => format!("pause the node with the address for {PAUSE:?}"),
            Self::EtcdLeader => "kill the leader of etcd".into(),
            Self::Restart(number) => format!("restart the platform on node {number}"),
            Self::Drain => "drain the node with the address, then restore it".into(),
            Self::Roll => "roll the app to a new version".into(),
            Self::Upgrade(number) => format!("upgrade the binary on node {number}"),
        }
    }

    /// A name without the node's number, for the steps of the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill(_) => "kill",
            Self::Cut(_) => "cut",
            Self::Deaf => "deaf",
            Self::Mute => "mute",
            Self::Pause => "pause",
            Self::EtcdLeader => "etcd-leader",
            Self::Restart(_) => "restart",
            Self::Drain => "drain",
            Self::Roll => "roll",
            Self::Upgrade(_) => "upgrade",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Kill(number) | Self::Cut(number) | Self::Restart(number) | Self::Upgrade(number) => {
                write!(f, "-{number}")
            }
            _ => Ok(()),
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = FULL.iter().find(|fault| fault.to_string() == text);
        known.copied().ok_or_else(|| {
            let mut names: Vec<String> = Vec::new();
            for name in FULL.iter().map(Fault::to_string) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            format!("there is no fault `{text}`; there are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_found_by_its_name() {
        for fault in FULL {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        let told = "kill-4".parse::<Fault>().unwrap_err();
        assert!(told.contains("kill-1, kill-2, kill-3, cut-1") && told.contains("etcd-leader"), "{told}");
    }

    #[test]
    fn the_small_matrix_has_each_kind_but_the_second_direction() {
        let kinds =
            |faults: &[Fault]| faults.iter().map(|fault| fault.name()).collect::<std::collections::BTreeSet<_>>();
        let missing: Vec<_> = kinds(&FULL).difference(&kinds(&SMALL)).copied().collect();
        assert_eq!(missing, ["deaf"]);
        assert!(SMALL.iter().all(|fault| FULL.contains(fault)));
    }

    #[test]
    fn a_list_goes_over_the_matrix() {
        assert_eq!(Matrix::Full.or_list(&[Fault::Roll]), [Fault::Roll]);
        assert_eq!(Matrix::None.or_list(&[]), []);
        assert_eq!(Matrix::Small.or_list(&[]).len(), SMALL.len());
    }

    #[test]
    fn only_a_node_that_holds_the_address_gives_it_away() {
        for fault in FULL {
            assert!(!fault.expected(false).address_moved, "{fault}");
        }
        assert!(Fault::Kill(2).expected(true).address_moved && Fault::Pause.expected(true).address_moved);
        assert!(!Fault::EtcdLeader.expected(true).address_moved);
    }
}
