//! The state machine of RFC 9568 §6.4, with what keepalived adds to it and what is ours: the fence and the sleeper check.
//!
//! Reading order: this file (the states and what every event passes through), `backup`, `active`, `reach`.

mod active;
mod backup;
#[cfg(test)]
mod properties;
mod reach;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use crate::timing::{Failover, OWNER_PRIORITY, master_down, skew};
use crate::{Cause, ConfigError, Effect, Event, Fence, Moment, RouterConfig, State};
use active::Active;
use backup::Backup;
use reach::Reach;

/// One virtual router on one interface of one node.
#[derive(Debug, Clone)]
pub struct Router {
    config: RouterConfig,
    own_primary: IpAddr,
    /// The configured priority, until health says otherwise.
    priority: u8,
    role: Role,
    /// When and why the state last changed.
    since: Moment,
    cause: Option<Cause>,
    /// The last holder other than us.
    heard: Option<Heard>,
    /// The last word of the store.
    fence: Option<Fence>,
    /// No preemption before this: the store has just made us give up.
    preempt_not_before: Moment,
    reach: Reach,
    /// Only the simulation's mutant turns it off.
    sleeper_check: bool,
    /// As above.
    reach_check: bool,
}

/// The last advertisement of another router that was followed or answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    pub at: Moment,
    pub from: IpAddr,
    pub priority: u8,
}

#[derive(Debug, Clone)]
enum Role {
    Initialize,
    Backup(Backup),
    Active(Active),
}

impl Router {
    /// `own_primary` is the source address of our advertisements: it breaks the tie between equal priorities.
    pub fn new(config: RouterConfig, own_primary: IpAddr) -> Result<Router, ConfigError> {
        config.validate()?;
        Ok(Router {
            priority: config.priority,
            config,
            own_primary,
            role: Role::Initialize,
            since: Moment::ZERO,
            cause: None,
            heard: None,
            fence: None,
            preempt_not_before: Moment::ZERO,
            reach: Reach::new(Moment::ZERO),
            sleeper_check: true,
            reach_check: true,
        })
    }

    /// A mutant that the simulation must catch.
    #[cfg(test)]
    pub(crate) fn without_sleeper_check(self) -> Router {
        Router { sleeper_check: false, ..self }
    }

    /// Another.
    #[cfg(test)]
    pub(crate) fn without_reach_check(self) -> Router {
        Router { reach_check: false, ..self }
    }

    /// Takes one event and says what is to be done, in order.
    pub fn handle(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        let deadline_before = self.deadline();
        let now = event.now();
        if self.slept(now, &mut effects) && matches!(event, Event::Timer { .. }) {
            // The timer was the holder's; the backup that it has become has set another.
        } else {
            self.dispatch(event, &mut effects);
        }
        if let Some(at) = self.deadline()
            && self.deadline() != deadline_before
        {
            effects.push(Effect::SetTimer { at });
        }
        effects
    }

    pub fn config(&self) -> &RouterConfig {
        &self.config
    }

    pub fn state(&self) -> State {
        match self.role {
            Role::Initialize => State::Initialize,
            Role::Backup(_) => State::Backup,
            Role::Active(_) => State::Active,
        }
    }

    /// When the state last changed, and why. `None` before the first start.
    pub fn last_transition(&self) -> Option<(Moment, &Cause)> {
        self.cause.as_ref().map(|cause| (self.since, cause))
    }

    /// The priority of the moment. 0: unfit.
    pub fn priority(&self) -> u8 {
        self.priority
    }

    /// The last other holder that was heard.
    pub fn heard(&self) -> Option<Heard> {
        self.heard
    }

    /// The last word of the store.
    pub fn fence(&self) -> Option<&Fence> {
        self.fence.as_ref()
    }

    /// When [`Event::Timer`] is due. `None` only in [`State::Initialize`].
    pub fn deadline(&self) -> Option<Moment> {
        let deadline = match &self.role {
            Role::Initialize => return None,
            Role::Backup(backup) => backup.deadline(&self.config),
            Role::Active(active) => active.deadline(),
        };
        Some(self.reach_check_at().map_or(deadline, |at| at.min(deadline)))
    }

    /// How long the addresses will be without a holder when the holder goes away: for a backup when *it* takes over, for a
    /// holder when a backup of its own priority does.
    pub fn expected_failover(&self) -> Failover {
        let interval = match &self.role {
            Role::Backup(backup) => backup.interval,
            Role::Initialize | Role::Active(_) => self.config.advert_interval,
        };
        let worst = master_down(&self.config, self.priority, interval);
        Failover {
            orderly: skew(self.config.version, self.priority, interval),
            typical: worst.saturating_sub(interval / 2),
            worst,
        }
    }

    fn dispatch(&mut self, event: Event, effects: &mut Vec<Effect>) {
        self.take_signs(&event);
        match event {
            Event::Start { now } => self.start(now, effects),
            Event::Stop { now } => self.leave(now, Cause::Stopped, effects),
            Event::LinkDown { now } => self.leave(now, Cause::LinkDown, effects),
            Event::HandOver { now, to } => self.hand_over(now, to, effects),
            Event::PriorityChanged { now, priority } => self.set_priority(now, priority, effects),
            // Our own multicast comes back on some sockets.
            Event::Advertisement { from, .. } if from == self.own_primary => {}
            Event::Advertisement { ref packet, .. } if self.config.check(packet).is_err() => {}
            Event::Advertisement { now, from, packet } => match self.role {
                Role::Initialize => {}
                Role::Backup(_) => self.backup_hears(now, from, &packet, effects),
                Role::Active(_) => self.active_hears(now, from, &packet, effects),
            },
            Event::Timer { now } => {
                self.check_reach(now, effects);
                match self.role {
                    Role::Initialize => {}
                    Role::Backup(_) => self.backup_timer(now, effects),
                    Role::Active(_) => self.active_timer(now, effects),
                }
            }
            Event::Received { now, .. } => self.judge_isolation(now, effects),
            Event::Fence { now, verdict } => match self.role {
                // A record that nobody will renew.
                Role::Initialize if verdict == Fence::Granted => effects.push(Effect::ReleaseFence),
                Role::Initialize => {}
                Role::Backup(_) => self.backup_verdict(now, verdict, effects),
                Role::Active(_) => self.active_verdict(now, verdict, effects),
            },
        }
    }

    fn start(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.state() != State::Initialize {
            return;
        }
        self.reach = Reach::new(now);
        if self.priority == OWNER_PRIORITY {
            self.become_active(now, Cause::Owner, effects);
        } else {
            let cause = Cause::Started { priority: self.priority };
            self.become_backup(now, self.config.advert_interval, cause, effects);
        }
    }

    /// An orderly way out resigns, unless the link is down and nothing can be sent.
    fn leave(&mut self, now: Moment, cause: Cause, effects: &mut Vec<Effect>) {
        if self.state() == State::Initialize {
            return;
        }
        let resigns = cause == Cause::Stopped;
        self.let_go(resigns, effects);
        self.enter(now, Role::Initialize, cause, effects);
    }

    /// Its priority stays, so that it takes the addresses back when nobody comes. `to` should have the highest of all.
    fn hand_over(&mut self, now: Moment, to: String, effects: &mut Vec<Effect>) {
        if self.state() == State::Active {
            self.let_go(true, effects);
            self.become_backup(now, self.config.advert_interval, Cause::HandedOver { to }, effects);
        }
    }

    fn set_priority(&mut self, now: Moment, priority: u8, effects: &mut Vec<Effect>) {
        if priority == self.priority {
            return;
        }
        self.priority = priority;
        if let Role::Active(active) = &mut self.role {
            if priority == 0 {
                self.let_go(true, effects);
                self.become_backup(now, self.config.advert_interval, Cause::Unfit, effects);
            } else {
                // The backups learn it now, not an interval later.
                active.advertised(now, &self.config);
                effects.push(Effect::SendAdvertisement { priority });
            }
        }
    }

    /// Gives up what a holder has, or a backup has asked for. The addresses go first: resigning calls in the next holder.
    fn let_go(&mut self, resigns: bool, effects: &mut Vec<Effect>) {
        match &self.role {
            Role::Initialize => {}
            Role::Backup(backup) => {
                if backup.has_asked() || self.reach.asks() {
                    effects.push(Effect::ReleaseFence);
                }
            }
            Role::Active(_) => {
                effects.push(Effect::RemoveAddresses);
                if resigns {
                    effects.push(Effect::SendAdvertisement { priority: 0 });
                }
                if self.config.fenced {
                    effects.push(Effect::ReleaseFence);
                }
            }
        }
    }

    fn become_backup(&mut self, now: Moment, interval: Duration, cause: Cause, effects: &mut Vec<Effect>) {
        let down_at = now + master_down(&self.config, self.priority, interval);
        let mut backup = Backup::new(now, interval, down_at);
        if matches!(cause, Cause::Fenced { .. }) {
            backup = backup.after_refusal();
        }
        self.enter(now, Role::Backup(backup), cause, effects);
    }

    fn become_active(&mut self, now: Moment, cause: Cause, effects: &mut Vec<Effect>) {
        self.reach = Reach::new(now);
        self.enter(now, Role::Active(Active::new(now, &self.config)), cause, effects);
        effects.push(Effect::SendAdvertisement { priority: self.priority });
        effects.push(Effect::AddAddresses);
        effects.push(Effect::Announce { burst: self.config.garp.burst });
    }

    fn enter(&mut self, now: Moment, role: Role, cause: Cause, effects: &mut Vec<Effect>) {
        let from = self.state();
        self.role = role;
        self.since = now;
        self.cause = Some(cause.clone());
        effects.push(Effect::Transition { from, to: self.state(), cause });
    }
}
