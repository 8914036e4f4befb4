//! What was answered lately: codes over the last ten seconds, latencies over the last minute (oxy's windows).

use super::histogram::Histogram;
use std::time::Duration;

const CODE_WINDOWS: usize = 10;
const CODE_WINDOW_NANOS: u64 = 1_000_000_000;
const LATENCY_WINDOWS: usize = 6;
const LATENCY_WINDOW_NANOS: u64 = 10_000_000_000;
/// Codes counted apart within one second; HTTP has 500, a server some ten.
const CODES_MAX: usize = 600;

#[derive(Debug)]
pub struct Statistics {
    codes: [Window<Vec<(u16, u64)>>; CODE_WINDOWS],
    /// None when nobody asks for latencies.
    latencies: Option<[Window<Histogram>; LATENCY_WINDOWS]>,
}

/// What came within one stretch of time.
#[derive(Debug, Default)]
struct Window<T> {
    /// Which stretch, counted from the clock's beginning.
    number: u64,
    content: T,
}

impl<T: Default> Window<T> {
    /// The window of now, empty if it held an older stretch.
    fn current(windows: &mut [Self], now_nanos: u64, window_nanos: u64) -> &mut T {
        let number = now_nanos / window_nanos;
        let window = &mut windows[(number % windows.len() as u64) as usize];
        if window.number != number {
            *window = Self { number, content: T::default() };
        }
        &mut window.content
    }

    /// The windows that are not too old.
    fn recent(windows: &[Self], now_nanos: u64, window_nanos: u64) -> impl Iterator<Item = &T> {
        let oldest = (now_nanos / window_nanos + 1).saturating_sub(windows.len() as u64);
        windows.iter().filter(move |window| window.number >= oldest).map(|window| &window.content)
    }
}

impl Statistics {
    pub fn new(with_latencies: bool) -> Self {
        Self { codes: Default::default(), latencies: with_latencies.then(Default::default) }
    }

    pub fn reset(&mut self) {
        *self = Self::new(self.latencies.is_some());
    }

    pub fn record(&mut self, code: u16, latency: Duration, now_nanos: u64) {
        let codes = Window::current(&mut self.codes, now_nanos, CODE_WINDOW_NANOS);
        match codes.iter().position(|(known, _)| *known == code) {
            Some(known) => codes[known].1 += 1,
            None if codes.len() < CODES_MAX => codes.push((code, 1)),
            None => {}
        }
        if let Some(latencies) = &mut self.latencies {
            Window::current(latencies, now_nanos, LATENCY_WINDOW_NANOS).record(latency);
        }
    }

    /// Responses whose code is among those asked for.
    pub fn count(&self, now_nanos: u64, among: impl Fn(u16) -> bool) -> u64 {
        let recent = Window::recent(&self.codes, now_nanos, CODE_WINDOW_NANOS);
        recent.flatten().filter(|(code, _)| among(*code)).map(|(_, count)| count).sum()
    }

    /// 0 when nothing was answered.
    pub fn latency_millis(&self, quantile_percent: f64, now_nanos: u64) -> i64 {
        let Some(latencies) = &self.latencies else { return 0 };
        let mut merged = Histogram::default();
        for histogram in Window::recent(latencies, now_nanos, LATENCY_WINDOW_NANOS) {
            merged.merge(histogram);
        }
        i64::try_from(merged.quantile(quantile_percent).as_millis()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn what_is_old_does_not_count() {
        let mut statistics = Statistics::new(true);
        for second in 0..30 {
            statistics.record(if second < 15 { 502 } else { 200 }, Duration::from_millis(second), second * SECOND);
        }
        assert_eq!(statistics.count(29 * SECOND, |_| true), 10);
        assert_eq!(statistics.count(29 * SECOND, |code| code == 502), 0);
        assert_eq!(statistics.count(35 * SECOND, |_| true), 4);
        assert_eq!(statistics.count(100 * SECOND, |_| true), 0);
        assert_eq!(statistics.latency_millis(100.0, 29 * SECOND), 29);
        assert_eq!(statistics.latency_millis(100.0, 200 * SECOND), 0);
        statistics.reset();
        assert_eq!((statistics.count(29 * SECOND, |_| true), statistics.latency_millis(50.0, 29 * SECOND)), (0, 0));
    }
}
