//! Consistent hashing: of a key's servers the one with the highest score, which depends on the key and on that server alone
//! (rendezvous hashing, Thaler and Ravishankar). So when a server leaves, only its own keys move, and when one comes, keys
//! move only to it: exactly the fewest. All edges agree without a word.
//!
//! Rejected: a ring (the same promises, but only about: 160 points per server still leave shares that differ by a tenth; it
//! has to be built for every change, and costs memory) and Maglev's table (moves keys that need not). A score costs some
//! nanoseconds per server.
//!
//! Loads are bounded (Mirrokni, Thorup, Zadimoghaddam: "Consistent hashing with bounded loads"): a server that has more in
//! flight than its share and a bit is passed over for the key's next one.

use super::key::mixed;

/// A server with fewer requests in flight has no load worth a bound.
const IN_FLIGHT_UNBOUNDED: u64 = 4;

/// `load_percent_max`: of a server's fair share of all requests in flight; 0: no bound. Takes the weights of those passed
/// over.
pub(super) fn pick(
    key: u64,
    hash: impl Fn(usize) -> u64,
    weights: &mut [u64],
    in_flight: impl Fn(usize) -> u64,
    load_percent_max: u32,
) -> Option<usize> {
    let first = best(key, &hash, weights)?;
    if load_percent_max == 0 || in_flight(first) < IN_FLIGHT_UNBOUNDED {
        return Some(first);
    }
    let requests = 1 + (0..weights.len()).filter(|at| weights[*at] > 0).map(&in_flight).sum::<u64>();
    let total_weight = u128::from(weights.iter().sum::<u64>());
    let has_room = |position: usize, weight: u64| {
        let share = u128::from(requests) * u128::from(load_percent_max) * u128::from(weight);
        let bound = share.div_ceil(100 * total_weight).max(u128::from(IN_FLIGHT_UNBOUNDED));
        u128::from(in_flight(position)) < bound
    };
    let mut next = Some(first);
    while let Some(position) = next {
        if has_room(position, weights[position]) {
            return Some(position);
        }
        weights[position] = 0;
        next = best(key, &hash, weights);
    }
    // Others were quicker to fill what had room.
    Some(first)
}

fn best(key: u64, hash: impl Fn(usize) -> u64, weights: &[u64]) -> Option<usize> {
    let mut best: Option<(usize, u64)> = None;
    for (position, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
        let drawn = mixed(key ^ hash(position));
        if best.is_none_or(|(best, its)| is_better(drawn, *weight, its, weights[best])) {
            best = Some((position, drawn));
        }
    }
    best.map(|(position, _)| position)
}

/// By weight / -ln(drawn as a fraction), which gives each server a share as its weight says (Schindelhauer and Schomaker);
/// equal weights need no logarithm.
fn is_better(drawn: u64, weight: u64, than: u64, than_weight: u64) -> bool {
    if weight == than_weight {
        return drawn > than;
    }
    let cost = |drawn: u64| -(((drawn >> 11) as f64 + 0.5) / (1u64 << 53) as f64).ln();
    weight as f64 * cost(than) > than_weight as f64 * cost(drawn)
}
