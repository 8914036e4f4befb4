//! Whom to try next. Pure.
//!
//! Controllers are tried in rounds: in one round each at most once, without a pause; between rounds there is a pause that
//! grows from [`PAUSE_MIN`] to [`PAUSE_MAX`]. Who a refusal names as the leader comes next. When a session that had lasted
//! breaks, a new round begins at once, and the controller it was with comes last: it is most likely gone, and the next
//! leader is among the others. One that opens sessions and ends them at once is not tried without end.

use super::Address;
use crate::CONTROLLERS_MAX;
use std::time::Duration;

/// Between the first rounds.
pub const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Between all later ones: a new leader hears of everyone within one pause and one round.
pub const PAUSE_MAX: Duration = Duration::from_millis(250);
/// A session that lasted this long was one.
pub const LASTING: Duration = Duration::from_secs(1);
/// Leaders named by refusals that are followed in one round: two that name each other must not keep us.
const HINTS_MAX: usize = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Dial(Address),
    Pause(Duration),
}

#[derive(Debug)]
pub(super) struct Rotation {
    configured: Vec<Address>,
    /// What controllers said last, the leader first.
    told: Vec<Address>,
    /// In this round.
    tried: Vec<Address>,
    hint: Option<Address>,
    hints_followed: usize,
    /// Whom the last lasting session was with.
    left: Option<Address>,
    pause: Duration,
}

impl Rotation {
    pub fn new(configured: Vec<Address>, told: Vec<Address>) -> Self {
        Self {
            configured: distinct(&configured),
            told: distinct(&told),
            tried: Vec::new(),
            hint: None,
            hints_followed: 0,
            left: None,
            pause: PAUSE_MIN,
        }
    }

    pub fn knows_anyone(&self) -> bool {
        !(self.configured.is_empty() && self.told.is_empty())
    }

    pub fn told_last(&self) -> &[Address] {
        &self.told
    }

    pub fn step(&mut self) -> Step {
        let named = self.hint.take().filter(|hint| !self.tried.contains(hint) && self.hints_followed < HINTS_MAX);
        if named.is_some() {
            self.hints_followed += 1;
        }
        if let Some(next) = named.or_else(|| self.untried()) {
            self.tried.push(next.clone());
            return Step::Dial(next);
        }
        let pause = self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.begin_round();
        Step::Pause(pause)
    }

    /// What came of the last address: for how long there was a session, and who was named as the leader instead.
    pub fn ended(&mut self, address: Address, lasted: Option<Duration>, leader: Option<Address>) {
        if lasted.is_some_and(|lasted| lasted >= LASTING) {
            self.begin_round();
            self.left = Some(address);
            self.pause = PAUSE_MIN;
        }
        self.hint = leader;
    }

    /// Whether that changed anything.
    pub fn told(&mut self, controllers: &[Address]) -> bool {
        let told = distinct(controllers);
        if told.is_empty() || told == self.told {
            return false;
        }
        self.told = told;
        true
    }

    /// Those the controllers named, then those of the configuration; the one just left comes last.
    fn untried(&self) -> Option<Address> {
        let mut untried = self.told.iter().chain(&self.configured).filter(|address| !self.tried.contains(address));
        let left = self.left.as_ref();
        let first = untried.clone().next()?;
        Some(untried.find(|address| Some(*address) != left).unwrap_or(first).clone())
    }

    fn begin_round(&mut self) {
        self.tried.clear();
        self.hint = None;
        self.hints_followed = 0;
    }
}

/// Each once, and not too many.
fn distinct(addresses: &[Address]) -> Vec<Address> {
    let mut distinct: Vec<Address> = Vec::new();
    for address in addresses {
        if distinct.len() < CONTROLLERS_MAX && !distinct.contains(address) {
            distinct.push(address.clone());
        }
    }
    distinct
}

#[cfg(test)]
mod tests;
