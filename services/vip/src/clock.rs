//! The one clock of the address: time since boot, sleep of the machine included, so that a holder that was asleep knows it.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

pub(crate) fn now() -> Duration {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has had this clock since 2.6.39");
    Duration::from(now)
}
