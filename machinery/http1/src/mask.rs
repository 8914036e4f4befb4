//! Which of a head's lines are meant: a bit for each.

use crate::HEADERS_MAX;

const WORD_BITS: usize = u64::BITS as usize;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mask([u64; HEADERS_MAX / WORD_BITS]);

impl Mask {
    #[inline]
    pub fn insert(&mut self, index: usize) {
        self.0[index / WORD_BITS] |= 1 << (index % WORD_BITS);
    }

    #[inline]
    pub fn contains(&self, index: usize) -> bool {
        self.0[index / WORD_BITS] & (1 << (index % WORD_BITS)) != 0
    }

    #[inline]
    pub fn union(mut self, other: &Self) -> Self {
        for (word, others) in self.0.iter_mut().zip(other.0) {
            *word |= others;
        }
        self
    }

    /// The indices, ascending.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(at, mut word)| {
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
                word &= word - 1;
                Some(at * WORD_BITS + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_comes_out_in_order() {
        let mut mask = Mask::default();
        for index in [255, 0, 64, 63, 128] {
            mask.insert(index);
        }
        assert_eq!(mask.iter().collect::<Vec<_>>(), [0, 63, 64, 128, 255]);
        assert!(mask.contains(63) && !mask.contains(62));
        let mut other = Mask::default();
        other.insert(7);
        assert_eq!(mask.union(&other).iter().nth(1), Some(7));
    }
}
