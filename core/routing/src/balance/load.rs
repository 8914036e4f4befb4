//! Policies that look at what is in flight, relative to the weight.

use super::key::mixed;

/// Leaves a weight to the servers with the fewest requests in flight only.
pub(super) fn keep_least_loaded(weights: &mut [u64], in_flight: impl Fn(usize) -> u64) {
    let mut least: Option<(usize, u64)> = None;
    for (position, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
        let load = in_flight(position);
        if least.is_none_or(|(best, least)| is_less(load, *weight, least, weights[best])) {
            least = Some((position, load));
        }
    }
    let Some((best, least)) = least else { return };
    let weight_of_best = weights[best];
    for (position, weight) in weights.iter_mut().enumerate() {
        // The best one stays even if more came to it meanwhile.
        if *weight > 0 && position != best && is_less(least, weight_of_best, in_flight(position), *weight) {
            *weight = 0;
        }
    }
}

/// Of two servers, drawn by weight, the one with less in flight (Mitzenmacher, "The power of two choices"): nearly as even
/// as looking at all of them, and many proxies that know nothing of each other do not all run to the same idle server.
pub(super) fn better_of_two(weights: &[u64], in_flight: impl Fn(usize) -> u64, random: u64) -> Option<usize> {
    let total: u64 = weights.iter().sum();
    let first = draw(weights, usize::MAX, total, random)?;
    let Some(second) = draw(weights, first, total - weights[first], mixed(random)) else { return Some(first) };
    let second_is_less = is_less(in_flight(second), weights[second], in_flight(first), weights[first]);
    Some(if second_is_less { second } else { first })
}

/// One of all but `without`, whose weights are `total`.
fn draw(weights: &[u64], without: usize, total: u64, random: u64) -> Option<usize> {
    // The product's upper half is even below `total`.
    let mut left = ((u128::from(random) * u128::from(total)) >> 64) as u64;
    for (position, weight) in weights.iter().enumerate().filter(|(position, _)| *position != without) {
        if left < *weight {
            return Some(position);
        }
        left -= weight;
    }
    None
}

/// Whether one load is less than another, each relative to its weight.
fn is_less(load: u64, weight: u64, than_load: u64, than_weight: u64) -> bool {
    u128::from(load) * u128::from(than_weight) < u128::from(than_load) * u128::from(weight)
}
