//! Active health: a server is asked every now and then, and after some good or bad answers in a row it is up or down. Here is
//! what is asked and what follows from the answers; who asks is elsewhere.

use super::BalanceError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// The defaults of interval, rise and fall are HAProxy's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthSpec {
    #[serde(skip_serializing_if = "HealthKind::is_http")]
    pub kind: HealthKind,
    pub path: String,
    pub interval_ms: u32,
    pub timeout_ms: u32,
    /// Good answers in a row that make a server which is down up.
    pub rise: u32,
    /// Bad ones that make one which is up down.
    pub fall: u32,
    /// Which statuses are good.
    pub status: StatusRange,
    /// The request's `Host`; the server's own address without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthKind {
    /// A GET is answered with a good status.
    #[default]
    Http,
    /// A connection is accepted.
    Tcp,
}

/// `200-399`, or one status.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StatusRange {
    first: u16,
    last: u16,
}

/// What the answers of one server amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    standing: HealthStanding,
    /// Answers in a row that say otherwise.
    contrary: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HealthStanding {
    /// Not asked yet: the first answer decides.
    #[default]
    Unknown,
    Up,
    Down,
}

impl Default for HealthSpec {
    fn default() -> Self {
        Self {
            kind: HealthKind::Http,
            path: "/".to_owned(),
            interval_ms: 2000,
            timeout_ms: 1000,
            rise: 2,
            fall: 3,
            status: StatusRange { first: 200, last: 399 },
            host: None,
        }
    }
}

impl HealthKind {
    fn is_http(&self) -> bool {
        *self == Self::Http
    }
}

impl HealthSpec {
    const INTERVAL_MS_MIN: u32 = 100;
    const MS_MAX: u32 = 3_600_000;
    const IN_ROW_MAX: u32 = 1000;
    /// Bytes of the path, and of the host.
    const TEXT_BYTES_MAX: usize = 1024;

    pub(super) fn check(&self) -> Result<(), BalanceError> {
        let check = super::spec::check;
        check("health.interval_ms", self.interval_ms, Self::INTERVAL_MS_MIN, Self::MS_MAX)?;
        check("health.timeout_ms", self.timeout_ms, 1, Self::MS_MAX)?;
        check("health.rise", self.rise, 1, Self::IN_ROW_MAX)?;
        check("health.fall", self.fall, 1, Self::IN_ROW_MAX)?;
        let is_text =
            |text: &str| text.len() <= Self::TEXT_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !self.path.starts_with('/') || !is_text(&self.path) || self.path.contains('#') {
            return Err(BalanceError::HealthText { field: "path", text: self.path.clone() });
        }
        match &self.host {
            Some(host) if host.is_empty() || !is_text(host) => {
                Err(BalanceError::HealthText { field: "host", text: host.clone() })
            }
            _ => Ok(()),
        }
    }

    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms.into())
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.into())
    }
}

impl Health {
    pub fn standing(&self) -> HealthStanding {
        self.standing
    }

    /// The server answered well or not; what it is now, if that is something else than before.
    pub fn observe(&mut self, spec: &HealthSpec, is_good: bool) -> Option<HealthStanding> {
        let (now, needed) = if is_good { (HealthStanding::Up, spec.rise) } else { (HealthStanding::Down, spec.fall) };
        if now == self.standing {
            self.contrary = 0;
            return None;
        }
        self.contrary += 1;
        if self.standing != HealthStanding::Unknown && self.contrary < needed {
            return None;
        }
        *self = Self { standing: now, contrary: 0 };
        Some(now)
    }
}

impl StatusRange {
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

impl TryFrom<String> for StatusRange {
    type Error = BalanceError;

    fn try_from(text: String) -> Result<Self, BalanceError> {
        let status = |text: &str| text.parse().ok().filter(|status| (100..=599).contains(status));
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(BalanceError::StatusRange { text }),
        }
    }
}

impl From<StatusRange> for String {
    fn from(range: StatusRange) -> Self {
        range.to_string()
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl fmt::Debug for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_answer_decides_and_then_as_many_in_a_row_as_were_asked_for() {
        let spec = HealthSpec { rise: 2, fall: 3, ..HealthSpec::default() };
        let mut health = Health::default();
        assert_eq!(health.observe(&spec, true), Some(HealthStanding::Up));
        for is_good in [false, false, true, false, false] {
            assert_eq!(health.observe(&spec, is_good), None);
        }
        assert_eq!(health.observe(&spec, false), Some(HealthStanding::Down));
        for is_good in [true, false, true] {
            assert_eq!(health.observe(&spec, is_good), None);
        }
        assert_eq!(health.observe(&spec, true), Some(HealthStanding::Up));
        assert_eq!(Health::default().observe(&spec, false), Some(HealthStanding::Down));
    }

    #[test]
    fn statuses_are_a_range_or_one() {
        let range = |text: &str| StatusRange::try_from(text.to_owned());
        assert!(range("200-399").unwrap().contains(399) && !range("200-399").unwrap().contains(400));
        assert_eq!(range("204").unwrap().to_string(), "204");
        for text in ["", "-", "99", "600", "300-200", "200-", "200-300-400", "2xx"] {
            assert!(range(text).is_err(), "{text}");
        }
    }

    proptest! {
        /// It changes exactly when the last answers, as many as are needed, all say so.
        #[test]
        fn it_is_what_enough_answers_in_a_row_say(answers in proptest::collection::vec(any::<bool>(), 1..80),
            rise in 1u32..6, fall in 1u32..6) {
            let spec = HealthSpec { rise, fall, ..HealthSpec::default() };
            let mut health = Health::default();
            let mut is_up = answers[0];
            for (at, is_good) in answers.iter().enumerate() {
                let before = health.standing();
                let changed = health.observe(&spec, *is_good);
                let needed = if *is_good { rise } else { fall } as usize;
                let in_row = answers[..=at].iter().rev().take_while(|answer| *answer == is_good).count();
                if *is_good != is_up && in_row >= needed {
                    is_up = *is_good;
                }
                let expected = if is_up { HealthStanding::Up } else { HealthStanding::Down };
                prop_assert_eq!(health.standing(), expected);
                prop_assert_eq!(changed, (before != expected).then_some(expected));
            }
        }
    }
}
