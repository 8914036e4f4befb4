//! The roles and their rights.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Who a caller is. People are `Admin` or `Viewer`; the others are the platform's own parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May do everything.
    Admin,
    /// May read what the API shows; changes nothing.
    Viewer,
    Controller,
    Agent,
    Edge,
    Registry,
    Console,
    /// A machine's supervisor: renews the certificates of the roles on its machine.
    Node,
    /// A member of the state's cluster.
    Store,
    /// Who holds the addresses.
    Vip,
}

impl Role {
    pub const ALL: [Self; 10] = [
        Self::Admin,
        Self::Viewer,
        Self::Controller,
        Self::Agent,
        Self::Edge,
        Self::Registry,
        Self::Console,
        Self::Node,
        Self::Store,
        Self::Vip,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Viewer => "viewer",
            Self::Controller => "controller",
            Self::Agent => "agent",
            Self::Edge => "edge",
            Self::Registry => "registry",
            Self::Console => "console",
            Self::Node => "node",
            Self::Store => "store",
            Self::Vip => "vip",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// The store's keys a role may touch: its own. An edge reads routes and writes nothing.
    pub fn store_rights(self) -> &'static [StoreRight] {
        const fn right(prefix: &'static str, access: Access) -> StoreRight {
            StoreRight { prefix, access }
        }
        match self {
            Self::Admin => const { &[right("", Access::Write)] },
            Self::Controller => {
                const {
                    &[
                        right("/roadstead/apps/", Access::Write),
                        right("/roadstead/versions/", Access::Write),
                        right("/roadstead/tasks/", Access::Write),
                        right("/roadstead/deployments/", Access::Write),
                        right("/roadstead/nodes/", Access::Write),
                        right("/roadstead/routes/", Access::Write),
                        right("/roadstead/controller", Access::Write),
                        right("/roadstead/members/", Access::Write),
                        right("/roadstead/join-tokens/", Access::Write),
                        right("/roadstead/cluster", Access::Write),
                        right("/roadstead/issued/", Access::Write),
                        right("/roadstead/revoked", Access::Write),
                        right("/roadstead/certificates/", Access::Write),
                        right("/roadstead/acme/", Access::Write),
                        right("/roadstead/history/", Access::Write),
                        right("/vulcand/", Access::Write),
                        right("vulcand/", Access::Write),
                    ]
                }
            }
            Self::Registry => const { &[right("/roadstead/registry/", Access::Write)] },
            Self::Edge => {
                const {
                    &[
                        right("/roadstead/routes/", Access::Read),
                        right("/roadstead/certificates/", Access::Read),
                        right("/roadstead/acme/challenges/", Access::Read),
                        right("/vulcand/", Access::Read),
                        right("vulcand/", Access::Read),
                    ]
                }
            }
            Self::Vip => const { &[right("/roadstead/vip/", Access::Write)] },
            // Who leads, and where, and who is shut out: for a machine that passes on what it is asked.
            Self::Console => {
                const {
                    &[
                        right("/roadstead/controller", Access::Read),
                        right("/roadstead/members/", Access::Read),
                        right("/roadstead/revoked", Access::Read),
                    ]
                }
            }
            Self::Viewer | Self::Agent | Self::Node | Self::Store => &[],
        }
    }

    /// Whether every key in `[key, range_end)` (etcd's reading: empty `range_end` is the one key) is this role's to touch.
    pub fn may_touch(self, key: &[u8], range_end: &[u8], access: Access) -> bool {
        self.store_rights().iter().any(|right| right.covers(key, range_end) && access <= right.access)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    Read,
    Write,
}

/// A prefix of the store's keys and what may be done under it.
#[derive(Clone, Copy, Debug)]
pub struct StoreRight {
    pub prefix: &'static str,
    pub access: Access,
}

impl StoreRight {
    fn covers(&self, key: &[u8], range_end: &[u8]) -> bool {
        let prefix = self.prefix.as_bytes();
        if prefix.is_empty() {
            return true;
        }
        if !key.starts_with(prefix) {
            return false;
        }
        // The range must end at or before the first key past the prefix; "\0" is etcd's "to the end of all keys".
        range_end.is_empty() || (range_end != b"\0" && range_end <= past_prefix(prefix).as_slice())
    }
}

/// The smallest key greater than every key with this prefix (prefixes here end in ASCII, so the last byte can grow).
fn past_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_reads_routes_and_writes_nothing() {
        assert!(Role::Edge.may_touch(b"/vulcand/", b"/vulcand0", Access::Read));
        assert!(Role::Edge.may_touch(b"/roadstead/routes/a", b"", Access::Read));
        assert!(!Role::Edge.may_touch(b"/roadstead/routes/a", b"", Access::Write));
        assert!(!Role::Edge.may_touch(b"/roadstead/apps/a", b"", Access::Read));
    }

    #[test]
    fn neither_controller_nor_registry_touches_the_others_keys() {
        assert!(Role::Controller.may_touch(b"/roadstead/apps/", b"/roadstead/apps0", Access::Write));
        assert!(!Role::Controller.may_touch(b"/roadstead/registry/tags", b"", Access::Read));
        assert!(Role::Registry.may_touch(b"/roadstead/registry/", b"/roadstead/registry0", Access::Write));
        assert!(!Role::Registry.may_touch(b"/roadstead/tasks/t", b"", Access::Read));
        assert!(Role::Console.may_touch(b"/roadstead/controller", b"", Access::Read));
        assert!(!Role::Console.may_touch(b"/roadstead/controller", b"", Access::Write));
        assert!(!Role::Console.may_touch(b"/roadstead/join-tokens/t", b"", Access::Read));
    }

    #[test]
    fn a_range_that_leaves_the_prefix_is_refused() {
        assert!(!Role::Edge.may_touch(b"/vulcand/", b"/vulcand1", Access::Read));
        assert!(!Role::Edge.may_touch(b"/vulcand/", b"\0", Access::Read));
        assert!(!Role::Edge.may_touch(b"\0", b"\0", Access::Read));
        assert!(Role::Admin.may_touch(b"\0", b"\0", Access::Write));
    }
}
