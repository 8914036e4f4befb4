//! `cbreaker`: when a condition over the last seconds holds, requests get a fallback for a while, and then more and more of
//! them get through again.
//!
//! ```text
//! standby ──condition──▶ tripped ──FallbackDuration──▶ recovering ──RecoveryDuration──▶ standby
//!                           ▲            condition            │
//!                           └─────────────────────────────────┘
//! ```
//! The condition is checked after a response, at most every `CheckPeriod`; statistics start anew when it trips. Entering
//! tripped and standby is told by webhook. Where vulcand differs: durations that are missing or 0 are its command line's
//! defaults (there they are 0, which trips for no time at all), and the state outlives a change of servers.

mod condition;
mod fallback;
mod histogram;
mod lexer;
mod ramp;
mod statistics;

use crate::effect::{Effect, Webhook};
use crate::spec::{Fields, SpecError};
use crate::step::{Note, Seen, SeenResponse, Step, Verdict};
use condition::Condition;
use fallback::Fallback;
use ramp::Ramp;
use statistics::Statistics;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Defaults of vulcand's command line.
const FALLBACK_DURATION: Duration = Duration::from_secs(10);
const RECOVERY_DURATION: Duration = Duration::from_secs(10);
const CHECK_PERIOD: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct CircuitBreaker {
    condition: Condition,
    fallback: Fallback,
    on_tripped: Option<Arc<Webhook>>,
    on_standby: Option<Arc<Webhook>>,
    fallback_nanos: u64,
    recovery_nanos: u64,
    check_period_nanos: u64,
    /// Whether every request passes: read without the lock.
    standby: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    statistics: Statistics,
    checked_nanos: Option<u64>,
}

#[derive(Debug)]
enum Phase {
    Standby,
    Tripped { until_nanos: u64 },
    Recovering(Ramp),
}

impl CircuitBreaker {
    pub fn read(mut fields: Fields) -> Result<Self, SpecError> {
        let condition = fields.required_text("Condition")?;
        let condition = Condition::parse(&condition).map_err(|wrong| fields.error("Condition", wrong.to_string()))?;
        let fallback = Fallback::read(&mut fields)?;
        let on_tripped = fallback::read_webhook(&mut fields, "OnTripped")?.map(Arc::new);
        let on_standby = fallback::read_webhook(&mut fields, "OnStandby")?.map(Arc::new);
        let mut nanos =
            |name, default: Duration| fields.duration(name).map(|given| given.unwrap_or(default).as_nanos() as u64);
        Ok(Self {
            fallback,
            on_tripped,
            on_standby,
            fallback_nanos: nanos("FallbackDuration", FALLBACK_DURATION)?,
            recovery_nanos: nanos("RecoveryDuration", RECOVERY_DURATION)?,
            check_period_nanos: nanos("CheckPeriod", CHECK_PERIOD)?,
            standby: AtomicBool::new(true),
            state: Mutex::new(State {
                phase: Phase::Standby,
                statistics: Statistics::new(condition.needs_latency()),
                checked_nanos: None,
            }),
            condition,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request may pass.
    fn admits(&self, now_nanos: u64, effects: &mut Vec<Effect>) -> bool {
        if self.standby.load(Ordering::Acquire) {
            return true;
        }
        let mut state = self.state();
        if let Phase::Tripped { until_nanos } = state.phase {
            if now_nanos < until_nanos {
                return false;
            }
            state.phase = Phase::Recovering(Ramp::new(now_nanos, self.recovery_nanos));
        }
        match &mut state.phase {
            Phase::Recovering(ramp) if !ramp.is_over(now_nanos) => ramp.admits(now_nanos),
            Phase::Recovering(_) => {
                state.phase = Phase::Standby;
                self.standby.store(true, Ordering::Release);
                effects.extend(self.on_standby.clone().map(Effect::Webhook));
                true
            }
            Phase::Standby | Phase::Tripped { .. } => true,
        }
    }

    /// Counts a response, and trips when it is time to check and the condition holds.
    fn record(&self, status: u16, latency: Duration, now_nanos: u64, effects: &mut Vec<Effect>) {
        let mut state = self.state();
        state.statistics.record(status, latency, now_nanos);
        let recently = |checked: u64| now_nanos.saturating_sub(checked) <= self.check_period_nanos;
        if state.checked_nanos.is_some_and(recently) {
            return;
        }
        state.checked_nanos = Some(now_nanos);
        if matches!(state.phase, Phase::Tripped { .. }) || !self.condition.holds(&state.statistics, now_nanos) {
            return;
        }
        state.phase = Phase::Tripped { until_nanos: now_nanos.saturating_add(self.fallback_nanos) };
        state.statistics.reset();
        self.standby.store(false, Ordering::Release);
        effects.extend(self.on_tripped.clone().map(Effect::Webhook));
    }
}

impl Step for CircuitBreaker {
    fn request<'c>(&'c self, seen: &mut Seen<'_, 'c>) -> Verdict<'c> {
        if self.admits(seen.now.nanos, seen.effects) {
            return Verdict::Pass;
        }
        Verdict::Answer(self.fallback.answer(seen.target()))
    }

    fn response<'c>(&'c self, _note: &mut Note, seen: &mut SeenResponse<'_, 'c>) {
        let latency = seen.now.since(seen.begun);
        self.record(seen.response.status, latency, seen.now.nanos, &mut seen.edits.effects);
    }
}

#[cfg(test)]
mod tests;
