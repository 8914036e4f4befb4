//! Three routers, their network, their kernels and the store in simulated time, under random faults: loss, delay, one-way
//! loss, nodes deaf or mute, pauses, deaths, stops, changes of health, a store out of reach. A seed decides everything, so a failure is its
//! seed: `World::new(seed, setup).run()`.
//!
//! An observer who sees all machines at once holds them to [`crate::TwoHoldersMax`], and to three rules more: nobody
//! speaks after a silence in which others may have taken over, nobody who receives nothing holds the addresses for longer
//! than [`crate::RouterConfig::isolated_max`], and once all is well there is one holder, the best one.
//!
//! Three mutants show that the observer is not blind: without the sleeper check, without the fence, and without an eye on
//! what comes in.

mod faults;
mod network;
mod node;
mod observer;
mod random;
mod store;
mod stories;
mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::Cause;
use world::{Setup, World};

const SEEDS: u64 = 300;
/// A mutant must be caught within so many seeds.
const MUTANT_SEEDS: u64 = 100;

/// More of them: `VRRP_SIMULATION_SEEDS=20000 cargo test -p vrrp simulation`.
fn seeds() -> std::ops::Range<u64> {
    let asked_for = option_env!("VRRP_SIMULATION_SEEDS").and_then(|seeds| seeds.parse().ok());
    0..asked_for.unwrap_or(SEEDS)
}

#[test]
fn two_holders_never_last_longer_than_the_documented_bound() {
    for seed in seeds() {
        let setup = Setup { preempt: seed % 4 != 0, fenced: true, sleeper_check: true, reach_check: true };
        if let Err(violation) = World::new(seed, setup).run() {
            panic!("seed {seed}: {violation}");
        }
    }
}

#[test]
fn the_bounds_without_a_store_hold_too() {
    for seed in seeds() {
        let setup = Setup { preempt: seed % 4 != 0, fenced: false, sleeper_check: true, reach_check: true };
        if let Err(violation) = World::new(seed, setup).run() {
            panic!("seed {seed}: {violation}");
        }
    }
}

#[test]
fn the_simulation_catches_a_router_without_the_sleeper_check() {
    let setup = Setup { preempt: true, fenced: true, sleeper_check: false, reach_check: true };
    let caught = (0..MUTANT_SEEDS).find_map(|seed| World::new(seed, setup).run().err());
    let violation = caught.expect("a sleeper that speaks is noticed");
    assert!(violation.rule == observer::Rule::Sleeper, "{violation}");
}

/// The routers do not ask, but are held to the bound of those who do.
#[test]
fn the_simulation_catches_routers_that_do_not_ask_the_store() {
    let setup = Setup { preempt: true, fenced: false, sleeper_check: true, reach_check: true };
    let caught = (0..MUTANT_SEEDS).filter_map(|seed| World::new(seed, setup).expecting_a_fence().run().err());
    // Nor is there a record in the end, which the observer notices, too.
    let mut rules = caught.map(|violation| violation.rule);
    assert!(rules.any(|rule| rule == observer::Rule::Fenced), "two holders under one-way loss are noticed");
}

#[test]
fn the_simulation_catches_routers_that_do_not_notice_they_are_cut_off() {
    let setup = Setup { preempt: true, fenced: true, sleeper_check: true, reach_check: false };
    let caught: Vec<_> = (0..MUTANT_SEEDS).filter_map(|seed| World::new(seed, setup).run().err()).collect();
    for rule in [observer::Rule::Isolated, observer::Rule::Unheard] {
        assert!(caught.iter().any(|violation| violation.rule == rule), "{rule:?} is never broken");
    }
}

/// A simulation that never gets somewhere proves nothing about it.
#[test]
fn the_simulation_reaches_every_cause() {
    let setup = Setup { preempt: true, fenced: true, sleeper_check: true, reach_check: true };
    let mut seen = BTreeSet::new();
    for seed in 0..60 {
        let mut world = World::new(seed, setup);
        assert!(world.run().is_ok());
        seen.extend(world.observer.transitions.iter().map(|(_, _, cause)| cause_name(cause)));
    }
    let expected = [
        "Fenced",
        "HandedOver",
        "HigherAddress",
        "HigherPriority",
        "HolderResigned",
        "HolderSilent Granted",
        "HolderSilent Late",
        "HolderSilent Unknown",
        "Isolated",
        "Preempts",
        "Slept",
        "Started",
        "Stopped",
        "Unfit",
        "Unheard",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

fn cause_name(cause: &Cause) -> String {
    if let Cause::HolderSilent { fence, .. } = cause {
        return format!("HolderSilent {fence:?}");
    }
    let debug = format!("{cause:?}");
    debug.split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn the_same_seed_is_the_same_history() {
    let setup = Setup { preempt: true, fenced: true, sleeper_check: true, reach_check: true };
    let history = |seed| {
        let mut world = World::new(seed, setup);
        assert!(world.run().is_ok());
        world.observer.transitions
    };
    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
}

/// The promise to be no slower than plain VRRP, with a store that still names the dead holder.
#[test]
fn a_dead_holder_is_replaced_within_the_master_down_time() {
    for seed in 0..50 {
        for fenced in [false, true] {
            let gap = World::calm(seed, Setup { preempt: true, fenced, sleeper_check: true, reach_check: true })
                .gap_after_a_death();
            // The skew of priority 110, and what timers and the network add.
            let worst = Duration::from_micros(300_000 + 100_000 * (256 - 110) / 256);
            assert!(gap <= worst + world::TIMER_LATE_MAX * 2 + network::DELAY_MAX, "seed {seed}: {gap:?}");
        }
    }
}

/// One direction is cut: the store keeps the deaf backup quiet, and its holder may die all the same.
#[test]
fn a_deaf_backup_stays_backup_while_the_holder_lives() {
    for seed in 0..50 {
        let setup = Setup { preempt: true, fenced: true, sleeper_check: true, reach_check: true };
        let (holders_at_once, gap) = World::calm(seed, setup).deaf_backup_then_death();
        assert_eq!(holders_at_once, 1, "seed {seed}");
        assert!(gap < crate::FENCE_ANSWER_MAX * 2, "seed {seed}: {gap:?}");
    }
}

/// The backups hear a deaf holder and are content: it has to notice by itself, and to say so.
#[test]
fn a_deaf_holder_gives_the_address_up_in_time() {
    for seed in 0..50 {
        let setup = Setup { preempt: true, fenced: true, sleeper_check: true, reach_check: true };
        let world = World::calm(seed, setup);
        let bound = world.nodes[0].router.config().isolated_max().expect("there is a store");
        let story = world.one_way(World::deafen);
        // The skew of priority 110, and what timers, readings and the network add.
        let skew = Duration::from_micros(100_000 * (256 - 110) / 256);
        let late = world::TIMER_LATE_MAX * 4 + network::DELAY_MAX * 2;
        assert!(story.let_go <= bound + skew + late, "seed {seed}: {:?}", story.let_go);
        assert!(story.held_elsewhere <= bound + skew + late, "seed {seed}: {:?}", story.held_elsewhere);
        assert_eq!(story.changes_after, 2, "seed {seed}: one takes over, one gives up");
    }
}

/// The others replace a mute holder; it hears them, and is the better one.
#[test]
fn a_mute_holder_gives_the_address_up_in_time() {
    for seed in 0..50 {
        let setup = Setup { preempt: true, fenced: true, sleeper_check: true, reach_check: true };
        let world = World::calm(seed, setup);
        let bound = world.nodes[0].router.config().two_holders_max().unheard.expect("there is a store");
        let story = world.one_way(World::mute);
        assert!(story.held_elsewhere < Duration::from_millis(500), "seed {seed}: {:?}", story.held_elsewhere);
        let let_go = story.let_go - story.held_elsewhere;
        assert!(let_go <= bound + world::TIMER_LATE_MAX * 4 + network::DELAY_MAX, "seed {seed}: {let_go:?}");
        assert_eq!(story.changes_after, 2, "seed {seed}: one takes over, one gives up");
    }
}
