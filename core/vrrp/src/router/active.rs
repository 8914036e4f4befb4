//! The holder: speaks, renews, and gives up when it must.

use std::net::IpAddr;

use super::{Heard, Role, Router};
use crate::timing::{ADDRESS_REFRESH_INTERVAL, FENCE_CHECK_INTERVAL, PREEMPT_PAUSE_AFTER_FENCED, silence_bound};
use crate::{Advertisement, Cause, Effect, Fence, Moment, RouterConfig};

#[derive(Debug, Clone)]
pub(super) struct Active {
    /// The last advertisement that we sent: what the backups' timers count from.
    spoke_at: Moment,
    advert_at: Moment,
    refresh_at: Moment,
    /// When to announce again, and how many times.
    announce: Option<(Moment, u8)>,
    /// When to ask the store the next time.
    ask_at: Option<Moment>,
    /// When a holder of lower priority was last answered with announcements.
    answered_at: Option<Moment>,
}

impl Active {
    pub(super) fn new(now: Moment, config: &RouterConfig) -> Active {
        Active {
            spoke_at: now,
            advert_at: now + config.advert_interval,
            refresh_at: now + ADDRESS_REFRESH_INTERVAL,
            announce: match config.garp.repeat_after {
                Some(delay) => Some((now + delay, config.garp.burst)),
                None => next_refresh(now, config),
            },
            // Not at once: a holder that was preempted, or has resigned, gives the record back within this time.
            ask_at: config.fenced.then_some(now + FENCE_CHECK_INTERVAL),
            answered_at: None,
        }
    }

    pub(super) fn deadline(&self) -> Moment {
        let optional = [self.announce.map(|(at, _)| at), self.ask_at].into_iter().flatten();
        optional.fold(self.advert_at.min(self.refresh_at), Moment::min)
    }

    pub(super) fn advertised(&mut self, now: Moment, config: &RouterConfig) {
        self.spoke_at = now;
        self.advert_at = now + config.advert_interval;
    }
}

fn next_refresh(now: Moment, config: &RouterConfig) -> Option<(Moment, u8)> {
    config.garp.refresh.map(|interval| (now + interval, 1))
}

impl Router {
    /// The sleeper check. A holder that said nothing for as long as the backups wait may have been replaced: it gives up
    /// before it speaks, sends no last word, and listens. True if that happened.
    pub(super) fn slept(&mut self, now: Moment, effects: &mut Vec<Effect>) -> bool {
        let Role::Active(active) = &self.role else { return false };
        let silence = now.saturating_sub(active.spoke_at);
        let bound = silence_bound(&self.config);
        if silence < bound || !self.sleeper_check {
            return false;
        }
        self.let_go(false, effects);
        self.become_backup(now, self.config.advert_interval, Cause::Slept { silence, bound }, effects);
        true
    }

    pub(super) fn active_timer(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Role::Active(active) = &mut self.role else { return };
        if active.advert_at <= now {
            active.advertised(now, &self.config);
            effects.push(Effect::SendAdvertisement { priority: self.priority });
        }
        if active.refresh_at <= now {
            active.refresh_at = now + ADDRESS_REFRESH_INTERVAL;
            effects.push(Effect::AddAddresses);
        }
        if let Some((at, burst)) = active.announce
            && at <= now
        {
            active.announce = next_refresh(now, &self.config);
            effects.push(Effect::Announce { burst });
        }
        if active.ask_at.is_some_and(|at| at <= now) {
            active.ask_at = Some(now + FENCE_CHECK_INTERVAL);
            effects.push(Effect::AskFence { within: FENCE_CHECK_INTERVAL });
        }
    }

    pub(super) fn active_hears(
        &mut self,
        now: Moment,
        from: IpAddr,
        packet: &Advertisement,
        effects: &mut Vec<Effect>,
    ) {
        let Role::Active(active) = &mut self.role else { return };
        let (theirs, ours) = (packet.priority, self.priority);
        if theirs == 0 {
            // Others may be about to take over: RFC 9568 §6.4.3 speaks at once.
            active.advertised(now, &self.config);
            effects.push(Effect::SendAdvertisement { priority: ours });
            return;
        }
        self.heard = Some(Heard { at: now, from, priority: theirs });
        if theirs > ours || (theirs == ours && from > self.own_primary) {
            let cause = if theirs > ours {
                Cause::HigherPriority { holder: from, theirs, ours }
            } else {
                Cause::HigherAddress { holder: from, priority: ours }
            };
            self.let_go(false, effects);
            self.become_backup(now, packet.interval, cause, effects);
            return;
        }
        if self.yields_unheard(now, from, packet, effects) {
            return;
        }
        let Role::Active(active) = &mut self.role else { return };
        // It does not hear us, or not yet. keepalived's answer: speak, and take the neighbours back. Once per interval, so
        // that a flood of forged advertisements is not multiplied.
        if active.answered_at.is_some_and(|at| now < at + self.config.advert_interval) {
            return;
        }
        active.answered_at = Some(now);
        active.advertised(now, &self.config);
        effects.push(Effect::SendAdvertisement { priority: ours });
        effects.push(Effect::Announce { burst: self.config.garp.lower_priority_burst });
    }

    pub(super) fn active_verdict(&mut self, now: Moment, verdict: Fence, effects: &mut Vec<Effect>) {
        self.fence = Some(verdict.clone());
        let Fence::Refused { holder } = verdict else { return };
        self.preempt_not_before = now + PREEMPT_PAUSE_AFTER_FENCED;
        self.let_go(false, effects);
        self.become_backup(now, self.config.advert_interval, Cause::Fenced { holder }, effects);
    }
}
