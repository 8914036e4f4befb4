//! A holder that is cut off in one direction, and cannot ask the store.

use super::*;
use crate::{FenceWord, ISOLATION_MAX, RECEIVED_CHECK_INTERVAL, UNHEARD_MAX};

fn fenced() -> RouterConfig {
    RouterConfig { fenced: true, ..config() }
}

const CHECK_MS: u64 = RECEIVED_CHECK_INTERVAL.as_millis() as u64;
const ISOLATION_MS: u64 = ISOLATION_MAX.as_millis() as u64;
const UNHEARD_MS: u64 = UNHEARD_MAX.as_millis() as u64;
/// Enough for every reading until the end.
const LATEST_MS: u64 = DOWN_MS + ISOLATION_MS + 2 * CHECK_MS;

/// Goes on until the end; each time it wants to know, the interface has received this many packets by then.
fn read(scene: &mut Scene, end: u64, packets: impl Fn(u64) -> u64) -> Vec<Effect> {
    let mut all = Vec::new();
    for at in scene.now.as_millis() as u64..=end {
        let effects = scene.until(at);
        if effects.contains(&Effect::CountReceived) {
            all.extend(scene.received(packets(at)));
        }
        all.extend(effects);
    }
    all
}

#[test]
fn a_holder_that_receives_nothing_and_cannot_ask_gives_up() {
    let mut scene = Scene::active(fenced());
    assert_eq!(causes(&read(&mut scene, DOWN_MS + ISOLATION_MS, |_| 7)), []);
    assert_eq!(scene.state(), State::Active);
    let mut scene = Scene::active(fenced());
    let effects = read(&mut scene, LATEST_MS, |_| 7);
    assert_eq!(causes(&effects), [Cause::Isolated { silence: ISOLATION_MAX }]);
    // Its last word is heard: the next holder need not wait.
    let gone = effects.iter().position(|effect| *effect == Effect::RemoveAddresses);
    let resigned = effects.iter().position(|effect| *effect == Effect::SendAdvertisement { priority: 0 });
    assert!(gone.is_some() && gone < resigned, "{effects:?}");
    assert!(effects.contains(&Effect::ReleaseFence));
    let bound = fenced().isolated_max().expect("there is a store");
    assert_eq!(bound, ms(LATEST_MS - DOWN_MS));
    let sentence = causes(&effects)[0].to_string();
    assert_eq!(sentence, "nothing was received for 1.5 s and the store does not answer: this node is cut off");
}

#[test]
fn one_packet_a_second_is_enough_to_hold_on() {
    let mut scene = Scene::active(fenced());
    assert_eq!(causes(&read(&mut scene, 30_000, |at| at / 1_000)), []);
    assert_eq!(scene.state(), State::Active);
}

#[test]
fn a_store_that_answers_is_enough_to_hold_on() {
    let mut scene = Scene::active(fenced());
    for end in (1_000..30_000).step_by(1_000) {
        assert_eq!(causes(&read(&mut scene, end, |_| 7)), []);
        scene.verdict(Fence::Granted);
    }
    // One that says nothing of use is not.
    scene.verdict(Fence::Unknown);
    assert!(matches!(causes(&read(&mut scene, 32_000, |_| 7))[..], [Cause::Isolated { .. }]));
}

#[test]
fn without_readings_nobody_is_cut_off() {
    let mut scene = Scene::active(fenced());
    assert_eq!(causes(&scene.until(30_000)), []);
    // The first one says nothing yet.
    assert_eq!(causes(&scene.received(7)), []);
    assert_eq!(causes(&read(&mut scene, 31_000, |_| 7)), []);
    assert!(matches!(causes(&read(&mut scene, 32_000, |_| 7))[..], [Cause::Isolated { .. }]));
}

#[test]
fn without_a_store_nothing_is_counted() {
    let mut scene = Scene::active(config());
    let effects = scene.until(30_000);
    assert!(!effects.contains(&Effect::CountReceived));
    for _ in 0..10 {
        scene.until(scene.now.as_millis() as u64 + 1_000);
        assert_eq!(scene.received(7), []);
    }
    assert_eq!(scene.state(), State::Active);
}

#[test]
fn whoever_is_cut_off_waits_for_a_packet_or_for_the_store() {
    let isolated = || {
        let mut scene = Scene::active(fenced());
        read(&mut scene, LATEST_MS, |_| 7);
        assert_eq!(causes(&read(&mut scene, 30_000, |_| 7)), []);
        assert_eq!(scene.state(), State::Backup);
        scene
    };
    // A client asks for the address: a lone survivor takes it back.
    let mut scene = isolated();
    let effects = read(&mut scene, 31_000, |_| 8);
    assert!(matches!(causes(&effects)[..], [Cause::HolderSilent { fence: FenceWord::Late, .. }]), "{effects:?}");
    // A neighbour holds it: it listens.
    let mut scene = isolated();
    scene.hear(LOWER_ADDRESS, 150);
    assert_eq!(causes(&scene.until(30_000 + DOWN_MS - 1)), []);
    assert_eq!(causes(&scene.until(30_000 + DOWN_MS)).len(), 1);
    // The store answers.
    let mut scene = isolated();
    while !scene.until(scene.now.as_millis() as u64 + 1).iter().any(|effect| matches!(effect, Effect::AskFence { .. }))
    {
    }
    scene.verdict(Fence::Granted);
    let effects = scene.until(31_000);
    assert!(matches!(causes(&effects)[..], [Cause::HolderSilent { fence: FenceWord::Granted, .. }]), "{effects:?}");
}

/// A holder of lower priority speaks every interval from now until the end.
fn contest(scene: &mut Scene, end: u64) -> Vec<Effect> {
    let mut effects = Vec::new();
    for at in (scene.now.as_millis() as u64..end).step_by(INTERVAL_MS as usize) {
        effects.extend(scene.until(at));
        effects.extend(scene.hear(HIGHER_ADDRESS, 50));
    }
    effects
}

#[test]
fn a_holder_to_whom_nobody_gives_way_and_who_cannot_ask_is_mute() {
    let mut scene = Scene::active(fenced());
    assert_eq!(causes(&contest(&mut scene, DOWN_MS + UNHEARD_MS)), []);
    let effects = contest(&mut scene, DOWN_MS + UNHEARD_MS + INTERVAL_MS);
    let [cause @ Cause::Unheard { holder: HIGHER_ADDRESS, theirs: 50, ours: 100, .. }] = &causes(&effects)[..] else {
        panic!("{effects:?}")
    };
    assert!(cause.to_string().ends_with("for 2.5 s, and the store does not answer: this node is not heard"), "{cause}");
    assert_eq!(effects.iter().find(|effect| **effect == Effect::RemoveAddresses), Some(&Effect::RemoveAddresses));
    // It does not preempt, however long it hears the other, until the store answers.
    let effects = contest(&mut scene, 30_000);
    assert_eq!(causes(&effects), []);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::AskFence { .. })));
    assert!(scene.verdict(Fence::Granted).contains(&Effect::ReleaseFence));
    assert!(matches!(causes(&contest(&mut scene, 31_000))[..], [Cause::Preempts { .. }]));
}

#[test]
fn with_the_store_s_word_or_without_a_store_the_better_one_stays() {
    let mut scene = Scene::active(fenced());
    for end in (1_000..30_000).step_by(1_000) {
        assert_eq!(causes(&contest(&mut scene, end)), []);
        scene.verdict(Fence::Granted);
    }
    let mut scene = Scene::active(config());
    assert_eq!(causes(&contest(&mut scene, 30_000)), []);
    assert_eq!(scene.state(), State::Active);
}

/// A backup that was deaf for a moment gives way when it hears again: each time counts for itself.
#[test]
fn a_short_contest_is_everyday_life() {
    let mut scene = Scene::active(fenced());
    for start in (1_000..30_000).step_by(3_000) {
        assert_eq!(causes(&scene.until(start)), []);
        assert_eq!(causes(&contest(&mut scene, start + UNHEARD_MS - INTERVAL_MS)), []);
    }
    assert_eq!(scene.state(), State::Active);
}
