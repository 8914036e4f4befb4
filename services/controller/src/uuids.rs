//! UUIDs of version 1 (RFC 9562, 5.1): what Marathon makes its task ids of. The node is random with the multicast bit set,
//! so that it is no one's network card.

use std::time::{SystemTime, UNIX_EPOCH};

/// 100 ns steps between 1582-10-15 and 1970-01-01.
const GREGORIAN_OFFSET_TICKS: u64 = 0x01B2_1DD2_1381_4000;

pub(crate) struct Uuids {
    node: [u8; 6],
    clock_sequence: u16,
    last_ticks: u64,
}

impl Uuids {
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        let [a, b, node @ ..] = random;
        let mut uuids = Self { node, clock_sequence: u16::from_be_bytes([a, b]) & 0x3fff, last_ticks: 0 };
        uuids.node[0] |= 1;
        Ok(uuids)
    }

    /// Never the same twice: within one tick the time is counted up.
    pub(crate) fn next(&mut self) -> String {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ticks = (since_epoch.as_nanos() / 100) as u64 + GREGORIAN_OFFSET_TICKS;
        self.last_ticks = ticks.max(self.last_ticks + 1);
        let ticks = self.last_ticks;
        let (low, middle, high) = (ticks as u32, (ticks >> 32) as u16, (ticks >> 48) as u16 & 0x0fff);
        let node: String = self.node.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{low:08x}-{middle:04x}-{:04x}-{:04x}-{node}", high | 0x1000, self.clock_sequence | 0x8000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn they_are_of_version_1_and_all_different() {
        let mut uuids = Uuids::new().unwrap();
        let made: BTreeSet<String> = (0..10_000).map(|_| uuids.next()).collect();
        assert_eq!(made.len(), 10_000);
        for uuid in made {
            assert_eq!((uuid.len(), &uuid[14..15]), (36, "1"), "{uuid}");
            assert!(matches!(&uuid[19..20], "8" | "9" | "a" | "b"), "{uuid}");
        }
    }
}
