//! The bytes of a segment file, version 0. Integers are little-endian.
//!
//! ```text
//! segment   magic "RSTDLOG0" (8) · segment number (8) · salt (8) · first sequence (8) · CRC-32C of the 32 before (4) · 0 (4)
//! record    magic (4) · payload length (4) · sequence (8) · group (8) · CRC-32C of payload (4) · CRC-32C of salt and the
//!           28 before (4) · payload
//! ```
//!
//! `sequence` counts records over all segments. `group` is the sequence of the first record of the group this one was
//! flushed with: every record before it was durable when this one was written. So a reader that finds record `n` broken
//! can tell a torn tail (nothing valid follows, or only records of the same group, written in the same flush) from
//! corruption (a later group exists, so `n` had been durable). The salt is random, so no payload can pose as a record.

use crc32c::{crc32c, crc32c_append};

pub const SEGMENT_HEADER_BYTES: u64 = 40;
pub const RECORD_HEADER_BYTES: usize = 32;
const SEGMENT_MAGIC: [u8; 8] = *b"RSTDLOG0";
pub const RECORD_MAGIC: [u8; 4] = [0xc5, b'r', b'e', 0xc0];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub segment: u64,
    pub salt: u64,
    pub sequence_first: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    pub len: u32,
    pub sequence: u64,
    pub group: u64,
    pub payload_crc: u32,
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES as usize] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..16].copy_from_slice(&self.segment.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.salt.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.sequence_first.to_le_bytes());
        let crc = crc32c(&bytes[..32]);
        bytes[32..36].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SEGMENT_HEADER_BYTES as usize] = bytes.try_into().ok()?;
        let intact = bytes[..8] == SEGMENT_MAGIC && u32_at(bytes, 32) == crc32c(&bytes[..32]);
        let header = Self { segment: u64_at(bytes, 8), salt: u64_at(bytes, 16), sequence_first: u64_at(bytes, 24) };
        intact.then_some(header)
    }
}

impl RecordHeader {
    pub fn encode(&self, salt: u64) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        bytes[..4].copy_from_slice(&RECORD_MAGIC);
        bytes[4..8].copy_from_slice(&self.len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.group.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = header_crc(salt, &bytes);
        bytes[28..32].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub fn decode(salt: u64, bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; RECORD_HEADER_BYTES] = bytes.try_into().ok()?;
        let intact = bytes[..4] == RECORD_MAGIC && u32_at(bytes, 28) == header_crc(salt, bytes);
        let header = Self {
            len: u32_at(bytes, 4),
            sequence: u64_at(bytes, 8),
            group: u64_at(bytes, 16),
            payload_crc: u32_at(bytes, 24),
        };
        intact.then_some(header)
    }
}

fn header_crc(salt: u64, bytes: &[u8; RECORD_HEADER_BYTES]) -> u32 {
    crc32c_append(crc32c(&salt.to_le_bytes()), &bytes[..28])
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(value)
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_header_is_read_as_written_and_under_no_other_salt(
            len: u32, sequence: u64, group: u64, payload_crc: u32, salt: u64, other: u64,
        ) {
            let header = RecordHeader { len, sequence, group, payload_crc };
            let bytes = header.encode(salt);
            prop_assert_eq!(RecordHeader::decode(salt, &bytes), Some(header));
            prop_assume!(salt != other);
            prop_assert_eq!(RecordHeader::decode(other, &bytes), None);
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80), salt: u64) {
            let _ = (RecordHeader::decode(salt, &bytes), SegmentHeader::decode(&bytes));
        }
    }

    #[test]
    fn a_segment_header_is_read_as_written() {
        let header = SegmentHeader { segment: 7, salt: 8, sequence_first: 9 };
        let mut bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Some(header));
        bytes[20] ^= 1;
        assert_eq!(SegmentHeader::decode(&bytes), None);
    }
}
