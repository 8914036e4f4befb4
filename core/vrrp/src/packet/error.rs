//! Why bytes are not an advertisement, or cannot become one. Each message names the field.

use std::time::Duration;

use thiserror::Error;

use super::{Family, Version};

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    #[error("TTL (hop limit) is {found}, must be 255: it was forwarded, or forged from afar")]
    Ttl { found: u8 },
    #[error("source and destination are of different families")]
    Families,
    #[error("IP version is {found}, must be 4")]
    IpVersion { found: u8 },
    #[error("IP protocol is {found}, must be 112")]
    Protocol { found: u8 },
    #[error("length is {found} bytes, must be {expected}")]
    Length { expected: usize, found: usize },
    #[error("version is {found}, not one we speak over {family:?}")]
    Version { found: u8, family: Family },
    #[error("type is {found}, must be 1 (advertisement)")]
    Type { found: u8 },
    #[error("virtual router id is 0, must be 1 to 255")]
    Vrid,
    #[error("count of addresses is 0, must be 1 to 255")]
    Count,
    #[error("checksum {found:#06x} does not fit the message")]
    Checksum { found: u16 },
    #[error("authentication type is {found}, must be 0 (none) or 1 (simple text)")]
    AuthType { found: u8 },
    #[error("advertisement interval is 0")]
    Interval,
}

/// Why an advertisement cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncodeError {
    #[error("virtual router id is 0, must be 1 to 255")]
    Vrid,
    #[error("version 2 knows no IPv6")]
    Version,
    #[error("version 3 knows no authentication")]
    Auth,
    #[error("addresses are of different families")]
    Families,
    #[error("count of addresses is {found}, must be 1 to 255")]
    Count { found: usize },
    #[error(
        "advertisement interval {found:?} cannot be said in {version:?} (2: whole seconds to 255; 3: centiseconds to 40.95 s)"
    )]
    Interval { found: Duration, version: Version },
}
