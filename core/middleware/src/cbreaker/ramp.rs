//! How recovery lets requests through: so that the share of those let through follows half the share of time passed. At a
//! half, as many pass as do not, and from then on all may. Counted, not drawn by lot: the same requests always fare the
//! same.

#[derive(Debug)]
pub struct Ramp {
    began_nanos: u64,
    duration_nanos: u64,
    passed: u64,
    refused: u64,
}

impl Ramp {
    pub fn new(now_nanos: u64, duration_nanos: u64) -> Self {
        Self { began_nanos: now_nanos, duration_nanos, passed: 0, refused: 0 }
    }

    pub fn is_over(&self, now_nanos: u64) -> bool {
        now_nanos.saturating_sub(self.began_nanos) > self.duration_nanos
    }

    /// Whether one more would keep the share below what time allows.
    pub fn admits(&mut self, now_nanos: u64) -> bool {
        let elapsed = now_nanos.saturating_sub(self.began_nanos);
        let (passed, refused) = (u128::from(self.passed) + 1, u128::from(self.refused));
        // passed / (passed + refused) < elapsed / (2 * duration), without fractions.
        let admits = 2 * passed * u128::from(self.duration_nanos) < u128::from(elapsed) * (passed + refused);
        if admits {
            self.passed += 1;
        } else {
            self.refused += 1;
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_from_nothing_to_a_half() {
        let duration = 10_000_000_000;
        let mut ramp = Ramp::new(0, duration);
        assert!((0..100).all(|_| !ramp.admits(0)));
        let (mut passed, requests) = (0, 1_000);
        for step in 0..requests {
            passed += u64::from(ramp.admits(duration * step / requests));
        }
        // The share of all 1,100 that had come is a half at most, and nearly that.
        assert!((450..550).contains(&passed), "{passed}");
        assert!(!ramp.is_over(duration) && ramp.is_over(duration + 1));
    }
}
