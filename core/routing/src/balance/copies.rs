//! What is kept of requests, and who gets copies of them.

use super::BalanceError;
use crate::document::{RouteServer, SERVERS_MAX};
use serde::{Deserialize, Serialize};

/// Bodies are taken whole before a server is asked, so that they can be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BufferSpec {
    /// Of one body; what is beyond goes to disk.
    pub memory_bytes: u32,
}

/// Somebody else gets a copy of some requests; what is answered is thrown away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MirrorSpec {
    pub to: MirrorTo,
    /// 0 to 100.
    #[serde(default = "all")]
    pub percent: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MirrorTo {
    Servers(Vec<RouteServer>),
    /// The servers of another route, by its id.
    Route(String),
}

fn all() -> u8 {
    100
}

impl Default for BufferSpec {
    fn default() -> Self {
        Self { memory_bytes: Self::MEMORY_BYTES }
    }
}

impl BufferSpec {
    /// vulcand's default.
    pub const MEMORY_BYTES: u32 = 1 << 20;
    pub const MEMORY_BYTES_MAX: u32 = 64 << 20;

    pub(super) fn check(&self) -> Result<(), BalanceError> {
        super::spec::check("buffer.memory_bytes", self.memory_bytes, 0, Self::MEMORY_BYTES_MAX)
    }
}

impl MirrorSpec {
    pub(super) fn check(&self) -> Result<(), BalanceError> {
        super::spec::check("mirror.percent", self.percent.into(), 0, 100)?;
        match &self.to {
            MirrorTo::Servers(servers) if servers.is_empty() || servers.len() > SERVERS_MAX => {
                Err(BalanceError::MirrorServers { count: servers.len() })
            }
            MirrorTo::Route(id) if id.is_empty() => Err(BalanceError::MirrorRoute),
            _ => Ok(()),
        }
    }
}
