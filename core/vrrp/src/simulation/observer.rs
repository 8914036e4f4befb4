//! Sees all machines at once and knows the rules.

use std::fmt;
use std::time::Duration;

use crate::timing::TwoHoldersMax;
use crate::{Cause, Moment, RouterConfig};

use super::network::DELAY_MAX;
use super::node::Node;
use super::store::{LATENCY_MAX, Store};
use super::world::{NODES, Reach, TIMER_LATE_MAX};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Who slept through a takeover holds nothing any more when it wakes, and does not speak.
    Sleeper,
    /// [`TwoHoldersMax::asleep`].
    Asleep,
    /// [`TwoHoldersMax::heard`].
    Heard,
    /// [`TwoHoldersMax::fenced`].
    Fenced,
    /// [`TwoHoldersMax::unheard`].
    Unheard,
    /// [`crate::RouterConfig::isolated_max`].
    Isolated,
    /// After all faults are mended there is one holder, the best.
    Settles,
}

#[derive(Debug)]
pub(super) struct Violation {
    pub(super) rule: Rule,
    pub(super) at: Moment,
    pub(super) text: String,
    /// What happened before.
    pub(super) history: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?} broken at {:?}: {}", self.rule, self.at, self.text)?;
        let recent = self.history.len().saturating_sub(30);
        self.history[recent..].iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// Two routers that both hold the addresses, and since when which bound counts.
#[derive(Clone, Copy, Default)]
struct Overlap {
    since: Option<Moment>,
    asleep_since: Option<Moment>,
    /// The better one, and since when it is heard.
    heard_since: Option<(usize, Moment)>,
    asked_since: Option<Moment>,
    /// The better one, and since when it hears the other and cannot ask.
    unheard_since: Option<(usize, Moment)>,
}

pub(super) struct Observer {
    bounds: TwoHoldersMax,
    isolated_max: Option<Duration>,
    /// Holders that receive nothing and cannot ask, and since when.
    isolated_since: [Option<Moment>; NODES],
    pub(super) expects_fence: bool,
    overlaps: [[Overlap; NODES]; NODES],
    pub(super) transitions: Vec<(Moment, usize, Cause)>,
    pub(super) history: Vec<String>,
}

impl Observer {
    pub(super) fn new(config: &RouterConfig) -> Observer {
        let (bounds, isolated_max) = (config.two_holders_max(), config.isolated_max());
        let expects_fence = bounds.fenced.is_some();
        let (overlaps, isolated_since, transitions, history) = Default::default();
        Observer { bounds, isolated_max, isolated_since, expects_fence, overlaps, transitions, history }
    }

    pub(super) fn note(&mut self, now: Moment, line: impl fmt::Display) {
        self.history.push(format!("{:>10.4} {line}", now.as_secs_f64()));
    }

    pub(super) fn violation(&self, rule: Rule, at: Moment, text: String) -> Violation {
        Violation { rule, at, text, history: self.history.clone() }
    }

    /// A holder speaks: the silence before it must be shorter than what others wait.
    pub(super) fn speaks(&self, now: Moment, index: usize, node: &Node) -> Result<(), Violation> {
        let silence = node.spoke_at.map_or(Duration::ZERO, |at| now - at);
        if silence < self.bounds.heard {
            return Ok(());
        }
        Err(self.violation(Rule::Sleeper, now, format!("n{index} speaks after a silence of {silence:?}")))
    }

    /// Looks at every pair after every happening: between two of them nothing changes.
    pub(super) fn look(&mut self, now: Moment, nodes: &[Node], reach: &Reach) -> Result<(), Violation> {
        self.look_for_isolated(now, nodes, reach)?;
        for a in 0..NODES {
            for b in a + 1..NODES {
                if nodes[a].holds(now) && nodes[b].holds(now) {
                    self.look_at_pair(now, (a, b), nodes, reach)?;
                } else {
                    self.overlaps[a][b] = Overlap::default();
                }
            }
        }
        Ok(())
    }

    fn look_for_isolated(&mut self, now: Moment, nodes: &[Node], reach: &Reach) -> Result<(), Violation> {
        let Some(bound) = self.isolated_max else { return Ok(()) };
        for (index, node) in nodes.iter().enumerate() {
            let hears = (0..NODES).any(|other| other != index && reach(other, index));
            let is_cut_off = node.runs() && node.holds(now) && !node.reaches_store && !hears;
            keep(&mut self.isolated_since[index], now, is_cut_off);
            if let Some(since) = self.isolated_since[index]
                && now - since > bound + TIMER_LATE_MAX * 3 + DELAY_MAX + LATENCY_MAX
            {
                let text = format!("n{index} holds the addresses, and receives nothing since {since:?}");
                return Err(self.violation(Rule::Isolated, now, text));
            }
        }
        Ok(())
    }

    fn look_at_pair(
        &mut self,
        now: Moment,
        (a, b): (usize, usize),
        nodes: &[Node],
        reach: &Reach,
    ) -> Result<(), Violation> {
        let both_run = nodes[a].runs() && nodes[b].runs();
        let rank = |index: usize| (nodes[index].router.priority(), nodes[index].address);
        let (better, worse) = if rank(a) > rank(b) { (a, b) } else { (b, a) };
        let overlap = &mut self.overlaps[a][b];
        let since = *overlap.since.get_or_insert(now);
        keep(&mut overlap.asleep_since, now, !both_run);
        keep(&mut overlap.asked_since, now, both_run && nodes[a].reaches_store && nodes[b].reaches_store);
        overlap.heard_since = match overlap.heard_since {
            _ if !both_run || !reach(better, worse) => None,
            Some((who, since)) if who == better => Some((who, since)),
            _ => Some((better, now)),
        };
        overlap.unheard_since = match overlap.unheard_since {
            _ if !both_run || !reach(worse, better) || nodes[better].reaches_store => None,
            Some((who, since)) if who == better => Some((who, since)),
            _ => Some((better, now)),
        };
        let overlap = *overlap;

        let names = format!("n{a} and n{b} hold the addresses since {since:?}");
        for index in [a, b] {
            if let Some((woke_at, silence)) = nodes[index].woke
                && both_run
                && since < woke_at
                && silence >= self.bounds.heard
            {
                let text = format!("{names}; n{index} woke at {woke_at:?} after {silence:?} of silence");
                return Err(self.violation(Rule::Sleeper, now, text));
            }
        }
        let fenced = crate::FENCE_CHECK_INTERVAL * 2;
        let late = TIMER_LATE_MAX * 3 + DELAY_MAX;
        let clocks = [
            (Rule::Asleep, overlap.asleep_since, self.bounds.asleep),
            (Rule::Heard, overlap.heard_since.map(|(_, since)| since), self.bounds.heard),
            (Rule::Fenced, overlap.asked_since.filter(|_| self.expects_fence), fenced),
            (
                Rule::Unheard,
                overlap.unheard_since.map(|(_, since)| since),
                self.bounds.unheard.unwrap_or(Duration::MAX),
            ),
        ];
        for (rule, since, bound) in clocks {
            if since.is_some_and(|since| now - since > bound.saturating_add(late)) {
                return Err(self.violation(rule, now, names));
            }
        }
        Ok(())
    }

    /// At the end, long after the last fault.
    pub(super) fn settled(&self, now: Moment, nodes: &[Node], store: &Store, best_wins: bool) -> Result<(), Violation> {
        let holders: Vec<usize> = (0..NODES).filter(|&index| nodes[index].holds(now)).collect();
        let expected = if best_wins { holders == [NODES - 1] } else { holders.len() == 1 };
        let recorded = !self.expects_fence || store.record == holders.first().copied();
        if expected && recorded {
            return Ok(());
        }
        let text = format!("holders {holders:?}, the store's record names {:?}", store.record);
        Err(self.violation(Rule::Settles, now, text))
    }
}

/// A clock that runs while a condition lasts.
fn keep(clock: &mut Option<Moment>, now: Moment, condition: bool) {
    *clock = if condition { clock.or(Some(now)) } else { None };
}
