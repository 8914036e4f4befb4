//! What is stored under `/roadstead/vip/`: version 0, JSON.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use store::{LeaseId, Revision};
use vrrp::Family;

/// All that this service writes.
pub(crate) const PREFIX: &str = "/roadstead/vip/";
const CHALLENGE: &str = "/challenge";
/// Nodes that are ready, by name.
pub(crate) const READY: &str = "/roadstead/vip/ready/";

/// Who holds the addresses of a virtual router. The key is under the holder's lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub node: String,
    /// The revision of the last challenge that the holder survived.
    #[serde(default)]
    pub affirms: Revision,
}

/// A node that hears no holder asks whether it lives. The key is under the challenger's lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Challenge {
    pub node: String,
    pub priority: u8,
    /// Whether it takes the address from a living holder of lower priority.
    pub preempts: bool,
    /// Where the record goes when it is handed over.
    pub lease: LeaseId,
}

/// A node that is ready to hold addresses. The key is under its lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Presence {
    /// Records of addresses that it would take from their holders.
    pub asks: BTreeSet<String>,
}

impl Presence {
    pub fn read(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok()
    }

    pub fn write(&self) -> Bytes {
        serde_json::to_vec(self).expect("plain data is always JSON").into()
    }
}

impl Record {
    pub fn read(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok()
    }

    pub fn write(&self) -> Bytes {
        serde_json::to_vec(self).expect("plain data is always JSON").into()
    }
}

impl Challenge {
    pub fn read(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok()
    }

    pub fn write(&self) -> Bytes {
        serde_json::to_vec(self).expect("plain data is always JSON").into()
    }
}

/// VRRP counts its ids for each family on its own.
pub(crate) fn record_key(vrid: u8, family: Family) -> String {
    match family {
        Family::V4 => format!("{PREFIX}{vrid}"),
        Family::V6 => format!("{PREFIX}{vrid}.v6"),
    }
}

pub(crate) fn challenge_key(record_key: &str) -> String {
    format!("{record_key}{CHALLENGE}")
}

pub(crate) fn presence_key(node: &str) -> String {
    format!("{READY}{node}")
}

/// The record that a challenge's key is about.
pub(crate) fn challenged_record(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key).ok()?.strip_suffix(CHALLENGE)
}
