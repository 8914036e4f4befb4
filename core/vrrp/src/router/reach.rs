//! Whether the network carries what we say, and brings what is said to us, as far as the store and the interface's counter
//! tell. Only with a store: without one this is plain VRRP, which keeps the addresses.
//!
//! **Deaf.** What a holder sends arrives, so the backups are content; what is sent to it does not, so clients reach nobody.
//! It cannot ask the store, whose answers do not arrive either. It gives up when its interface has received nothing at all
//! for [`ISOLATION_MAX`], and is fit again as soon as anything comes in. A lone survivor receives its clients' packets, ARP
//! requests at least, and keeps the addresses; an interface without traffic has no client to lose.
//!
//! **Mute.** What a holder sends does not arrive, so a backup has replaced it, and the better one of two holders stays.
//! It gives up when the other does not give way for [`UNHEARD_MAX`], and preempts nobody until the store answers again.
//!
//! A reading decides, never the absence of one: a shell that is late with them keeps the addresses where they are.

use std::net::IpAddr;

use super::{Role, Router};
use crate::timing::{FENCE_CHECK_INTERVAL, ISOLATION_MAX, RECEIVED_CHECK_INTERVAL, UNHEARD_MAX};
use crate::{Advertisement, Cause, Effect, Event, Fence, Moment};

#[derive(Debug, Clone)]
pub(super) struct Reach {
    fault: Option<Fault>,
    /// The interface's counter when it was last read.
    packets: Option<u64>,
    /// When it was first seen like this, or a neighbour spoke.
    received_at: Moment,
    /// When the store last answered.
    answered_at: Moment,
    /// When to look again.
    check_at: Moment,
    /// Another holder that does not give way.
    contest: Option<Contest>,
}

/// Why a holder has given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Deaf,
    Mute,
}

#[derive(Debug, Clone, Copy)]
struct Contest {
    since: Moment,
    /// It is over when nothing is heard for so long.
    until: Moment,
}

impl Reach {
    /// Everything works until the contrary is known.
    pub(super) fn new(now: Moment) -> Reach {
        let check_at = now + RECEIVED_CHECK_INTERVAL;
        Reach { fault: None, packets: None, received_at: now, answered_at: now, check_at, contest: None }
    }

    pub(super) fn is_deaf(&self) -> bool {
        self.fault == Some(Fault::Deaf)
    }

    pub(super) fn is_mute(&self) -> bool {
        self.fault == Some(Fault::Mute)
    }

    /// A backup that asks the store whether it answers.
    pub(super) fn asks(&self) -> bool {
        self.is_mute()
    }

    fn received(&mut self, now: Moment) {
        self.received_at = now;
        self.fault.take_if(|fault| *fault == Fault::Deaf);
    }
}

impl Router {
    /// When to look again: a holder always, a backup while it is cut off.
    pub(super) fn reach_check_at(&self) -> Option<Moment> {
        let looks = match self.role {
            Role::Initialize => false,
            Role::Backup(_) => self.reach.fault.is_some(),
            Role::Active(_) => true,
        };
        (self.config.fenced && self.reach_check && looks).then_some(self.reach.check_at)
    }

    /// What shows that something comes in.
    pub(super) fn take_signs(&mut self, event: &Event) {
        let reach = &mut self.reach;
        match *event {
            Event::Advertisement { now, from, .. } if from != self.own_primary => reach.received(now),
            Event::Fence { now, verdict: Fence::Granted | Fence::Refused { .. } } => {
                reach.answered_at = now;
                reach.fault = None;
            }
            // The first reading only says where the counter stands.
            Event::Received { now, packets } => match reach.packets.replace(packets) {
                Some(before) if before == packets => {}
                Some(_) => reach.received(now),
                None => reach.received_at = now,
            },
            _ => {}
        }
    }

    pub(super) fn check_reach(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.reach_check_at().is_none_or(|at| now < at) {
            return;
        }
        if !self.reach.is_mute() {
            self.reach.check_at = now + RECEIVED_CHECK_INTERVAL;
            effects.push(Effect::CountReceived);
            return;
        }
        self.reach.check_at = now + FENCE_CHECK_INTERVAL;
        // Only to hear whether it answers: a grant is given back.
        if matches!(&self.role, Role::Backup(backup) if !backup.has_asked()) {
            effects.push(Effect::AskFence { within: FENCE_CHECK_INTERVAL });
        }
    }

    /// After each reading.
    pub(super) fn judge_isolation(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let silence = now.saturating_sub(self.reach.received_at.max(self.reach.answered_at));
        let is_active = matches!(self.role, Role::Active(_));
        if !is_active || self.reach_check_at().is_none() || silence < ISOLATION_MAX {
            return;
        }
        // The others hear it.
        self.let_go(true, effects);
        self.reach.fault = Some(Fault::Deaf);
        self.become_backup(now, self.config.advert_interval, Cause::Isolated { silence }, effects);
    }

    /// A holder of lower priority goes on, though it should hear us. True if we gave up.
    pub(super) fn yields_unheard(
        &mut self,
        now: Moment,
        from: IpAddr,
        packet: &Advertisement,
        effects: &mut Vec<Effect>,
    ) -> bool {
        // One more than may be missed: delays come on top.
        let patience = packet.interval * (self.config.down_timer_adverts + 1);
        let since = self.reach.contest.filter(|contest| now < contest.until).map_or(now, |contest| contest.since);
        self.reach.contest = Some(Contest { since, until: now + patience });
        let contested = now.saturating_sub(since);
        let unanswered = now.saturating_sub(self.reach.answered_at) >= ISOLATION_MAX;
        if self.reach_check_at().is_none() || contested < UNHEARD_MAX || !unanswered {
            return false;
        }
        let cause = Cause::Unheard { holder: from, theirs: packet.priority, ours: self.priority, contested };
        self.let_go(false, effects);
        self.reach.fault = Some(Fault::Mute);
        self.become_backup(now, packet.interval, cause, effects);
        true
    }
}
