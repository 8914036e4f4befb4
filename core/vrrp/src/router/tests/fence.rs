//! The store's word: never slower than plain VRRP, never two holders by it.

use super::*;
use crate::{FENCE_ANSWER_MAX, FENCE_CHECK_INTERVAL, FenceWord, PREEMPT_PAUSE_AFTER_FENCED};

fn fenced() -> RouterConfig {
    RouterConfig { fenced: true, ..config() }
}

fn refused() -> Fence {
    Fence::Refused { holder: "n1".to_owned() }
}

/// What the takeover at the master-down time said about the store.
fn word(effects: &[Effect]) -> FenceWord {
    match &causes(effects)[..] {
        [Cause::HolderSilent { fence, .. }] => *fence,
        other => panic!("took over because of {other:?}"),
    }
}

/// One interval before the master-down time.
const ASK_MS: u64 = DOWN_MS - INTERVAL_MS;

#[test]
fn the_store_is_asked_one_interval_before_the_takeover() {
    let mut scene = Scene::started(fenced());
    assert_eq!(scene.until(ASK_MS - 1), []);
    let effects = scene.until(ASK_MS);
    assert_eq!(effects[0], Effect::AskFence { within: ms(INTERVAL_MS) });
    assert_eq!(scene.state(), State::Backup);
}

#[test]
fn no_answer_makes_a_takeover_later_than_plain_vrrp() {
    for (answer, said) in [
        (Some(Fence::Granted), FenceWord::Granted),
        (Some(Fence::Unknown), FenceWord::Unknown),
        (None, FenceWord::Late),
    ] {
        let mut scene = Scene::started(fenced());
        scene.until(ASK_MS);
        if let Some(answer) = answer {
            scene.verdict(answer);
        }
        assert_eq!(causes(&scene.until(DOWN_MS - 1)), []);
        assert_eq!(word(&scene.until(DOWN_MS)), said);
    }
}

#[test]
fn a_refused_backup_stays_says_why_once_and_asks_again() {
    let mut scene = Scene::started(fenced());
    scene.until(ASK_MS);
    let mut stays = Vec::new();
    let mut asked = 0;
    scene.verdict(refused());
    for at in (ASK_MS..5_000).step_by(10) {
        for effect in scene.until(at) {
            match effect {
                Effect::Stay { cause, .. } => stays.push(cause),
                Effect::AskFence { .. } => {
                    asked += 1;
                    scene.verdict(refused());
                }
                _ => {}
            }
        }
    }
    assert_eq!(stays, [Cause::Fenced { holder: "n1".to_owned() }]);
    assert!((15..20).contains(&asked), "asked {asked} times");
    assert_eq!(scene.state(), State::Backup);
}

#[test]
fn a_refused_backup_takes_over_as_soon_as_the_store_grants() {
    let mut scene = Scene::started(fenced());
    scene.until(ASK_MS);
    scene.verdict(refused());
    scene.until(DOWN_MS + 200);
    let effects = scene.verdict(Fence::Granted);
    assert_eq!(word(&effects), FenceWord::Granted);
}

/// The holder was alive a moment ago by the store's word: a store that is slow now gets time, but not for ever.
#[test]
fn after_a_refusal_a_silent_store_is_waited_for() {
    let mut scene = Scene::started(fenced());
    scene.until(ASK_MS);
    scene.verdict(refused());
    let asked_at = 511; // a retry, 250 ms after the refusal
    let patience = FENCE_ANSWER_MAX.as_millis() as u64;
    assert_eq!(causes(&scene.until(asked_at + patience - 1)), []);
    assert_eq!(word(&scene.until(asked_at + patience)), FenceWord::Late);
}

#[test]
fn an_advertisement_withdraws_the_question() {
    let mut scene = Scene::started(fenced());
    scene.until(ASK_MS);
    assert_eq!(scene.hear(LOWER_ADDRESS, 150)[0], Effect::ReleaseFence);
    // An answer that was under way would keep others out.
    assert_eq!(scene.verdict(Fence::Granted), [Effect::ReleaseFence]);
    assert_eq!(scene.state(), State::Backup);
}

#[test]
fn the_holder_s_own_word_needs_no_question() {
    let mut scene = Scene::started(fenced());
    scene.until(200);
    scene.hear(LOWER_ADDRESS, 0);
    let effects = scene.until(261);
    assert_eq!(causes(&effects), [Cause::HolderResigned { holder: LOWER_ADDRESS }]);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::AskFence { .. })));
}

#[test]
fn a_holder_asks_regularly_and_goes_on_without_a_store() {
    let mut scene = Scene::started(fenced());
    scene.until(DOWN_MS);
    let check = FENCE_CHECK_INTERVAL.as_millis() as u64;
    let effects = scene.until(DOWN_MS + 4 * check);
    assert_eq!(effects.iter().filter(|effect| matches!(effect, Effect::AskFence { .. })).count(), 4);
    assert_eq!(scene.verdict(Fence::Unknown), []);
    assert_eq!(scene.verdict(Fence::Granted), []);
    assert_eq!(scene.state(), State::Active);
}

#[test]
fn a_holder_whom_the_store_refuses_gives_up_without_calling_in_others() {
    let mut scene = Scene::active(fenced());
    let effects = scene.verdict(refused());
    assert_eq!(effects[..2], [Effect::RemoveAddresses, Effect::ReleaseFence]);
    assert_eq!(causes(&effects), [Cause::Fenced { holder: "n1".to_owned() }]);
    assert_eq!(advertisements(&effects), [0; 0]);
}

/// A slow store let a deaf backup take over, and corrected it. That must not repeat itself every third of a second.
#[test]
fn a_holder_made_backup_by_the_store_waits_for_its_answer() {
    let mut scene = Scene::active(fenced());
    scene.verdict(refused());
    let asked_at = DOWN_MS + ASK_MS + 1;
    assert!(matches!(scene.until(asked_at)[..], [Effect::AskFence { within: FENCE_ANSWER_MAX }, ..]));
    assert_eq!(causes(&scene.until(asked_at + 900)), []);
    scene.verdict(refused());
    assert_eq!(causes(&scene.until(asked_at + 1_800)), []);
}

#[test]
fn after_the_store_s_refusal_it_does_not_preempt_for_a_while() {
    let mut scene = Scene::active(fenced());
    scene.verdict(refused());
    let pause = PREEMPT_PAUSE_AFTER_FENCED.as_millis() as u64;
    let mut active_at = None;
    for at in (DOWN_MS + 50..2 * pause).step_by(100) {
        scene.until(at);
        if scene.state() == State::Active {
            active_at = Some(at);
            break;
        }
        scene.hear(LOWER_ADDRESS, 50);
    }
    assert!(active_at.is_some_and(|at| at > pause && at < pause + 1_000), "{active_at:?}");
}

#[test]
fn every_way_out_gives_the_record_back() {
    for event in [
        |now| Event::Stop { now },
        |now| Event::LinkDown { now },
        |now| Event::PriorityChanged { now, priority: 0 },
        |now| Event::Advertisement { now, from: LOWER_ADDRESS, packet: fenced().advertisement(101) },
    ] {
        let mut scene = Scene::active(fenced());
        let effects = scene.router.handle(event(scene.now));
        assert!(effects.contains(&Effect::ReleaseFence), "{effects:?}");
    }
    // Also that of a backup which has asked, and an answer that finds nobody.
    let mut scene = Scene::started(fenced());
    scene.until(ASK_MS);
    assert!(scene.router.handle(Event::Stop { now: scene.now }).contains(&Effect::ReleaseFence));
    assert_eq!(scene.verdict(Fence::Granted), [Effect::ReleaseFence]);
}
