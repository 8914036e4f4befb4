//! What is to be thought of a machine, in one word, and what the cluster's state can still lose. Pure.

use crate::controller::{Cluster, Etcd, EtcdMember, Node};

/// A machine's standing: the worst that is to say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Connected,
    /// Its session is broken; an agent that is merely being restarted is back before anyone suspects it.
    Silent,
    /// Silent for so long that others should serve.
    Suspected,
    /// Silent for so long that its tasks are replaced.
    Lost,
    /// It is being emptied.
    Draining,
    /// It was emptied.
    Drained,
    /// It has joined, but its agent has never come.
    Absent,
    /// In a word this version does not know.
    Unknown,
}

impl Standing {
    pub fn of(node: &Node) -> Self {
        match node.state.as_str() {
            _ if node.lost => Self::Lost,
            _ if node.suspected => Self::Suspected,
            "silent" => Self::Silent,
            "absent" => Self::Absent,
            _ if node.draining && node.tasks == 0 => Self::Drained,
            _ if node.draining => Self::Draining,
            "connected" => Self::Connected,
            _ => Self::Unknown,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Connected => "Connected",
            Self::Silent => "Silent",
            Self::Suspected => "Suspected",
            Self::Lost => "Lost",
            Self::Draining => "Draining",
            Self::Drained => "Drained",
            Self::Absent => "Absent",
            Self::Unknown => "Unknown",
        }
    }
}

/// The voters of the cluster's state: more than half of them must be well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voters {
    pub well: usize,
    pub all: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quorum {
    Whole,
    /// Some are not well, the others suffice.
    Strained,
    /// Nothing can be changed.
    Gone,
}

impl Voters {
    /// `None` where none are listed.
    pub fn of(etcd: &Etcd) -> Option<Self> {
        let voters = || etcd.members.iter().filter(|member| !is_learner(member));
        let all = voters().count();
        (all > 0).then(|| Self { well: voters().filter(|member| member.healthy).count(), all })
    }

    pub fn quorum(self) -> Quorum {
        match self.spare() {
            None => Quorum::Gone,
            Some(_) if self.well < self.all => Quorum::Strained,
            Some(_) => Quorum::Whole,
        }
    }

    /// How many more may fail; `None`: too many have.
    pub fn spare(self) -> Option<usize> {
        self.well.checked_sub(self.all / 2 + 1)
    }

    fn can_spare_one(self) -> bool {
        self.spare().is_some_and(|spare| spare > 0)
    }
}

/// What would be missing without a machine, though no task is on it.
pub fn needed_for(node: &Node, cluster: Option<&Cluster>) -> Option<&'static str> {
    let cluster = cluster?;
    let host = cluster.settings.objects.rsplit_once(':').map(|(host, _)| host.trim_matches(['[', ']']));
    if node.etcd.as_deref() == Some("voter") && Voters::of(&cluster.etcd).is_none_or(|voters| !voters.can_spare_one()) {
        Some("the state's majority")
    } else if host == Some(node.address.as_str()) {
        Some("the objects")
    } else {
        None
    }
}

pub fn is_learner(member: &EtcdMember) -> bool {
    member.role == "learner"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn standing(node: Value) -> Standing {
        Standing::of(&serde_json::from_value(node).unwrap())
    }

    #[test]
    fn the_worst_of_a_machine_is_its_standing() {
        assert_eq!(standing(json!({"state": "connected", "tasks": 2})), Standing::Connected);
        assert_eq!(standing(json!({"state": "silent"})), Standing::Silent);
        assert_eq!(standing(json!({"state": "silent", "suspected": true, "draining": true})), Standing::Suspected);
        // Over a session that is open, but says nothing.
        assert_eq!(standing(json!({"state": "connected", "suspected": true})), Standing::Suspected);
        assert_eq!(standing(json!({"state": "silent", "lost": true, "draining": true})), Standing::Lost);
        assert_eq!(standing(json!({"state": "absent", "tasks": 0})), Standing::Absent);
        assert_eq!(standing(json!({"state": "resting"})), Standing::Unknown);
    }

    #[test]
    fn a_machine_is_drained_when_its_last_task_is_gone() {
        assert_eq!(standing(json!({"state": "connected", "draining": true, "tasks": 1})), Standing::Draining);
        assert_eq!(standing(json!({"state": "connected", "draining": true, "tasks": 0})), Standing::Drained);
        assert_eq!(standing(json!({"state": "connected", "draining": true})), Standing::Draining, "nobody counted");
        assert_eq!(standing(json!({"state": "silent", "draining": true, "tasks": 0})), Standing::Silent);
    }

    #[test]
    fn more_than_half_of_the_voters_must_be_well() {
        let spare = |well, all| Voters { well, all }.spare();
        assert_eq!((spare(1, 1), spare(3, 3), spare(5, 5)), (Some(0), Some(1), Some(2)));
        assert_eq!((spare(2, 3), spare(4, 5), spare(3, 5)), (Some(0), Some(1), Some(0)));
        assert_eq!((spare(0, 1), spare(1, 2), spare(1, 3), spare(2, 5)), (None, None, None, None));
        let quorum = |well, all| Voters { well, all }.quorum();
        assert_eq!((quorum(3, 3), quorum(2, 3), quorum(1, 3)), (Quorum::Whole, Quorum::Strained, Quorum::Gone));
    }

    #[test]
    fn a_machine_is_needed_for_the_majority_and_for_the_objects() {
        let cluster = |well: [bool; 3]| -> Cluster {
            let members = well.map(|healthy| json!({"name": "n", "role": "voter", "healthy": healthy}));
            let objects = json!({"objects": "[fd00::1]:9001"});
            serde_json::from_value(json!({"settings": objects, "etcd": {"members": members}})).unwrap()
        };
        let needed = |address: &str, role: Value, cluster: Option<&Cluster>| {
            let node: Node = serde_json::from_value(json!({"address": address, "etcd": role})).unwrap();
            needed_for(&node, cluster)
        };
        let (whole, strained) = (cluster([true; 3]), cluster([true, true, false]));
        assert_eq!(needed("fd00::2", json!("voter"), Some(&whole)), None);
        assert_eq!(needed("fd00::2", json!("voter"), Some(&strained)), Some("the state's majority"));
        assert_eq!(needed("fd00::2", json!(null), Some(&strained)), None);
        assert_eq!(needed("fd00::1", json!("voter"), Some(&whole)), Some("the objects"));
        assert_eq!(needed("fd00::2", json!("voter"), Some(&Cluster::default())), Some("the state's majority"));
        assert_eq!(needed("fd00::1", json!(null), None), None, "a machine alone");
    }

    #[test]
    fn learners_have_no_vote() {
        let etcd = json!({"healthy": true, "members": [
            {"name": "a", "role": "voter", "healthy": true}, {"name": "b", "role": "learner", "healthy": true}
        ]});
        let etcd: Etcd = serde_json::from_value(etcd).unwrap();
        assert_eq!(Voters::of(&etcd), Some(Voters { well: 1, all: 1 }));
        assert_eq!(Voters::of(&Etcd::default()), None);
    }
}
