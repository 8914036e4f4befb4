//! Files that survive power loss: group commit, checksums, fault injection
