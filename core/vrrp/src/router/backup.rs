//! The backup: listens, and takes over when the holder is silent, resigns, or may be preempted.
//!
//! Before it takes over from a *silent* holder it asks the store, one interval early, so that the answer is there when
//! the master-down timer runs out: a fenced takeover is as quick as plain VRRP. A store that does not answer until then
//! counts as not to be asked. Only a store that has just refused gets [`FENCE_ANSWER_MAX`]: then the holder was alive a
//! moment ago, and what is broken is our hearing. A holder that resigns, or speaks with a lower priority, has given its
//! own word; the store is told afterwards.

use std::net::IpAddr;
use std::time::Duration;

use super::{Heard, Role, Router};
use crate::cause::FenceWord;
use crate::timing::{FENCE_ANSWER_MAX, FENCE_LEAD_MAX, FENCE_RETRY_MIN, master_down, skew};
use crate::{Advertisement, Cause, Effect, Fence, Moment, RouterConfig};

#[derive(Debug, Clone)]
pub(super) struct Backup {
    /// The holder's interval, learnt from its advertisements in version 3 (`Active_Adver_Interval`).
    pub(super) interval: Duration,
    /// Since when nothing was followed.
    silent_since: Moment,
    /// When to take over (`Active_Down_Timer`).
    down_at: Moment,
    reason: Reason,
    question: Question,
    /// The store has refused in this silence, and the log was told: its next answer is waited for.
    refused: bool,
    /// Overslept in this silence, and has listened once more. Once: a starved machine must still take over some day.
    overslept: bool,
    /// Since when a holder of lower priority is heard.
    lower_since: Option<Moment>,
}

/// What the end of the master-down timer will mean.
#[derive(Debug, Clone, Copy)]
enum Reason {
    Silence,
    Resigned { holder: IpAddr },
    Preemption { holder: IpAddr, theirs: u8 },
}

/// The question to the store about a silent holder.
#[derive(Debug, Clone)]
enum Question {
    NotAsked,
    /// Asked; no answer after `until` is [`FenceWord::Late`].
    Open {
        until: Moment,
    },
    Answered(FenceWord),
    Refused {
        holder: String,
        ask_again_at: Moment,
    },
}

impl Backup {
    pub(super) fn new(now: Moment, interval: Duration, down_at: Moment) -> Backup {
        Backup {
            interval,
            silent_since: now,
            down_at,
            reason: Reason::Silence,
            question: Question::NotAsked,
            refused: false,
            overslept: false,
            lower_since: None,
        }
    }

    /// A backup that the store has just made out of a holder.
    pub(super) fn after_refusal(self) -> Backup {
        Backup { refused: true, ..self }
    }

    pub(super) fn deadline(&self, config: &RouterConfig) -> Moment {
        match self.question {
            Question::NotAsked if self.asks(config) => self.down_at.saturating_sub(self.lead()),
            Question::NotAsked | Question::Answered(_) => self.down_at,
            Question::Open { until } => until,
            Question::Refused { ask_again_at, .. } => ask_again_at,
        }
    }

    pub(super) fn has_asked(&self) -> bool {
        !matches!(self.question, Question::NotAsked)
    }

    fn asks(&self, config: &RouterConfig) -> bool {
        config.fenced && matches!(self.reason, Reason::Silence)
    }

    /// How long before the takeover the store is asked.
    fn lead(&self) -> Duration {
        self.interval.min(FENCE_LEAD_MAX)
    }

    fn ask(&mut self, now: Moment, until: Moment, effects: &mut Vec<Effect>) {
        self.question = Question::Open { until };
        effects.push(Effect::AskFence { within: until.saturating_sub(now) });
    }

    fn withdraw_question(&mut self, effects: &mut Vec<Effect>) {
        if self.has_asked() {
            self.question = Question::NotAsked;
            effects.push(Effect::ReleaseFence);
        }
        self.refused = false;
    }

    /// Starts the silence anew.
    fn listen_until(&mut self, down_at: Moment, effects: &mut Vec<Effect>) {
        self.withdraw_question(effects);
        self.reason = Reason::Silence;
        self.down_at = down_at;
    }
}

impl Router {
    pub(super) fn backup_hears(
        &mut self,
        now: Moment,
        from: IpAddr,
        packet: &Advertisement,
        effects: &mut Vec<Effect>,
    ) {
        let Role::Backup(backup) = &mut self.role else { return };
        backup.withdraw_question(effects);
        backup.overslept = false;
        if packet.priority == 0 {
            backup.reason = Reason::Resigned { holder: from };
            backup.down_at = now + skew(self.config.version, self.priority, backup.interval);
            return;
        }
        self.heard = Some(Heard { at: now, from, priority: packet.priority });
        let is_lower = packet.priority < self.priority;
        let lower_since = is_lower.then(|| backup.lower_since.unwrap_or(now));
        backup.lower_since = lower_since;
        let may_preempt = self.config.preempt && now >= self.preempt_not_before && !self.reach.is_mute();
        if may_preempt && lower_since.is_some_and(|since| now >= since + self.config.preempt_delay) {
            // Not followed: the timer runs on, and its end preempts.
            backup.reason = Reason::Preemption { holder: from, theirs: packet.priority };
            return;
        }
        backup.interval = packet.interval;
        backup.silent_since = now;
        backup.reason = Reason::Silence;
        backup.down_at = now + master_down(&self.config, self.priority, packet.interval);
    }

    pub(super) fn backup_timer(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Role::Backup(backup) = &mut self.role else { return };
        let deadline = backup.deadline(&self.config);
        if now < deadline {
            return;
        }
        let late = now - deadline;
        if late >= backup.interval && !backup.overslept && self.sleeper_check {
            // What came meanwhile may be lost. A live holder speaks within one interval.
            let once_more = backup.interval + skew(self.config.version, self.priority, backup.interval);
            backup.listen_until(now + once_more, effects);
            backup.overslept = true;
            effects.push(Effect::Stay { state: self.state(), cause: Cause::Overslept { late } });
            return;
        }
        if self.priority == 0 {
            backup.listen_until(now + master_down(&self.config, self.priority, backup.interval), effects);
            return;
        }
        if !backup.asks(&self.config) {
            self.take_over(now, FenceWord::NoStore, effects);
            return;
        }
        match &backup.question {
            Question::NotAsked => {
                // Asked too late to know in time: then the takeover is late too, by no more than the lead.
                let in_time = if now < backup.down_at { backup.down_at } else { now + backup.lead() };
                let patient = if backup.refused { now + FENCE_ANSWER_MAX } else { in_time };
                backup.ask(now, in_time.max(patient), effects);
            }
            Question::Open { .. } => self.take_over(now, FenceWord::Late, effects),
            Question::Answered(word) => {
                let word = *word;
                self.take_over(now, word, effects);
            }
            Question::Refused { holder, .. } => {
                let cause = Cause::Fenced { holder: holder.clone() };
                let told = std::mem::replace(&mut backup.refused, true);
                backup.ask(now, now + FENCE_ANSWER_MAX, effects);
                if !told {
                    effects.push(Effect::Stay { state: self.state(), cause });
                }
            }
        }
    }

    pub(super) fn backup_verdict(&mut self, now: Moment, verdict: Fence, effects: &mut Vec<Effect>) {
        self.fence = Some(verdict.clone());
        let Role::Backup(backup) = &mut self.role else { return };
        if !matches!(backup.question, Question::Open { .. }) {
            // Nobody asks any more; a record that names us would keep others out.
            if verdict == Fence::Granted {
                effects.push(Effect::ReleaseFence);
            }
            return;
        }
        backup.question = match verdict {
            Fence::Granted => Question::Answered(FenceWord::Granted),
            Fence::Unknown => Question::Answered(FenceWord::Unknown),
            Fence::Refused { holder } => {
                let ask_again_at = backup.down_at.max(now + backup.interval.max(FENCE_RETRY_MIN));
                Question::Refused { holder, ask_again_at }
            }
        };
        // The answer to a repeated question: the time is long over.
        if let Question::Answered(word) = backup.question
            && now >= backup.down_at
            && self.priority > 0
        {
            self.take_over(now, word, effects);
        }
    }

    fn take_over(&mut self, now: Moment, fence: FenceWord, effects: &mut Vec<Effect>) {
        let Role::Backup(backup) = &mut self.role else { return };
        if self.reach.is_deaf() {
            // No answer, and nothing came in since: the silence is ours.
            backup.listen_until(now + master_down(&self.config, self.priority, backup.interval), effects);
            return;
        }
        let cause = match backup.reason {
            Reason::Silence => Cause::HolderSilent {
                holder: self.heard.map(|heard| heard.from),
                silence: now.saturating_sub(backup.silent_since),
                fence,
            },
            Reason::Resigned { holder } => Cause::HolderResigned { holder },
            Reason::Preemption { holder, theirs } => Cause::Preempts { holder, theirs, ours: self.priority },
        };
        self.become_active(now, cause, effects);
    }
}
