//! Smooth weighted round robin (nginx's): of the servers that may be picked, each gains its weight, the richest is picked
//! and pays what all of them gained. Over a full round each is picked exactly as often as its weight says, never in bursts.

#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    credits: Vec<i64>,
}

impl Turns {
    /// `known` says where each server was before.
    pub fn new(before: Option<&Self>, known: &[Option<usize>]) -> Self {
        let credit =
            |position: &Option<usize>| before.zip(*position).map(|(before, position)| before.credits[position]);
        let kept: Vec<i64> = known.iter().filter_map(credit).collect();
        // Who left took credit along; without levelling, newcomers (who begin at 0) would wait or rush.
        let mean = if kept.is_empty() { 0 } else { kept.iter().sum::<i64>() / kept.len() as i64 };
        Self { credits: known.iter().map(|position| credit(position).map_or(0, |credit| credit - mean)).collect() }
    }

    /// The next of those that have a weight.
    pub fn pick(&mut self, weights: &[u64]) -> Option<usize> {
        let mut gained = 0;
        let mut richest: Option<usize> = None;
        for (position, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
            let weight = *weight as i64;
            self.credits[position] += weight;
            gained += weight;
            if richest.is_none_or(|richest| self.credits[position] > self.credits[richest]) {
                richest = Some(position);
            }
        }
        let position = richest?;
        self.credits[position] -= gained;
        Some(position)
    }
}
