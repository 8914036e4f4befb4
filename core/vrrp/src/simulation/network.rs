//! One direction between two routers.

use std::time::Duration;

use super::random::Random;

/// The slowest delivery.
pub(super) const DELAY_MAX: Duration = Duration::from_millis(20);
const DELAY_USUAL_MAX: Duration = Duration::from_millis(2);
const DELAY_MIN: Duration = Duration::from_micros(50);

/// One less than `down_timer_adverts`: what the bound [`crate::TwoHoldersMax::heard`] allows.
const LOST_IN_A_ROW_MAX: u32 = 2;

#[derive(Clone, Default)]
pub(super) struct Link {
    pub(super) cut: bool,
    pub(super) loss_percent: u64,
    lost_in_a_row: u32,
}

impl Link {
    /// How long a packet that is sent now travels. `None`: it is lost.
    pub(super) fn carry(&mut self, random: &mut Random) -> Option<Duration> {
        if self.cut {
            return None;
        }
        if self.lost_in_a_row < LOST_IN_A_ROW_MAX && random.chance(self.loss_percent) {
            self.lost_in_a_row += 1;
            return None;
        }
        self.lost_in_a_row = 0;
        Some(delay(random))
    }
}

fn delay(random: &mut Random) -> Duration {
    let slowest = if random.chance(5) { DELAY_MAX } else { DELAY_USUAL_MAX };
    random.between(DELAY_MIN..slowest)
}
