//! RFC 9568 §6.4, and what keepalived does where the RFC is silent.

use super::*;
use crate::{FenceWord, GarpPolicy, Password, Version};

#[test]
fn a_backup_takes_over_after_the_master_down_time() {
    // keepalived's measured 3.61 s: priority 100, 1 s.
    let mut scene = Scene::started(RouterConfig { advert_interval: ms(1000), ..config() });
    assert_eq!(scene.router.deadline(), Some(Duration::from_micros(3_609_375)));
    scene.until(3_609);
    assert_eq!(scene.state(), State::Backup);
    let effects = scene.until(3_610);
    let silence = Duration::from_micros(3_609_375);
    let cause = Cause::HolderSilent { holder: None, silence, fence: FenceWord::NoStore };
    assert_eq!(
        effects,
        [
            Effect::Transition { from: State::Backup, to: State::Active, cause },
            Effect::SendAdvertisement { priority: 100 },
            Effect::AddAddresses,
            Effect::Announce { burst: 5 },
            Effect::SetTimer { at: silence + ms(500) },
        ]
    );
}

#[test]
fn version_2_counts_its_skew_in_seconds() {
    let scene = Scene::started(RouterConfig { version: Version::V2, advert_interval: ms(2000), ..config() });
    assert_eq!(scene.router.deadline(), Some(Duration::from_micros(6_609_375)));
}

#[test]
fn the_owner_does_not_wait() {
    let scene = Scene::started(RouterConfig { priority: 255, ..config() });
    assert_eq!(scene.state(), State::Active);
    assert_eq!(scene.router.last_transition(), Some((Moment::ZERO, &Cause::Owner)));
}

#[test]
fn advertisements_keep_a_backup_quiet_and_their_end_does_not() {
    let mut scene = Scene::started(config());
    for at in (50..=5_000).step_by(100) {
        assert_eq!(scene.until(at), []);
        scene.hear(LOWER_ADDRESS, 150);
    }
    let effects = scene.until(5_500);
    let holder = Some(LOWER_ADDRESS);
    assert!(matches!(causes(&effects)[..], [Cause::HolderSilent { holder: found, silence, .. }]
            if found == holder && silence == Duration::from_nanos(360_937_500)));
}

#[test]
fn a_resigning_holder_is_replaced_after_the_skew() {
    let mut scene = Scene::started(config());
    scene.until(100);
    scene.hear(LOWER_ADDRESS, 0);
    // (256 − 100) / 256 × 100 ms after the resignation.
    assert_eq!(scene.router.deadline(), Some(ms(100) + Duration::from_nanos(60_937_500)));
    let effects = scene.until(161);
    assert_eq!(causes(&effects), [Cause::HolderResigned { holder: LOWER_ADDRESS }]);
}

#[test]
fn a_lower_priority_is_preempted() {
    let mut scene = Scene::started(config());
    let mut effects = Vec::new();
    for at in [90, 180, 270, 360] {
        effects.extend(scene.until(at));
        scene.hear(HIGHER_ADDRESS, 90);
    }
    effects.extend(scene.until(DOWN_MS));
    assert_eq!(causes(&effects), [Cause::Preempts { holder: HIGHER_ADDRESS, theirs: 90, ours: 100 }]);
}

#[test]
fn without_preemption_a_lower_priority_is_followed() {
    let mut scene = Scene::started(RouterConfig { preempt: false, ..config() });
    for at in (50..=2_000).step_by(100) {
        assert_eq!(scene.until(at), []);
        scene.hear(LOWER_ADDRESS, 1);
    }
    assert_eq!(scene.state(), State::Backup);
}

#[test]
fn preemption_waits_for_its_delay() {
    let mut scene = Scene::started(RouterConfig { preempt_delay: ms(1_000), ..config() });
    let mut took_over_at = None;
    for at in (50..=2_000).step_by(100) {
        if scene.until(at).iter().any(|effect| matches!(effect, Effect::AddAddresses)) {
            took_over_at = Some(at);
            break;
        }
        scene.hear(LOWER_ADDRESS, 1);
    }
    // First heard at 50; followed for the last time at 950, and 361 ms later it is over.
    assert_eq!(took_over_at, Some(1_350));
}

#[test]
fn version_3_adopts_the_sender_s_interval() {
    let mut scene = Scene::started(config());
    let packet = Advertisement { interval: ms(1_000), ..scene.router.config().advertisement(150) };
    scene.hear_packet(LOWER_ADDRESS, packet);
    assert_eq!(scene.router.deadline(), Some(Duration::from_micros(3_609_375)));
    // As the holder it speaks at its own.
    scene.until(3_610);
    assert_eq!(advertisements(&scene.until(4_610)).len(), 10);
}

#[test]
fn a_higher_priority_takes_the_addresses_from_a_holder() {
    let mut scene = Scene::active(config());
    let effects = scene.hear(LOWER_ADDRESS, 101);
    let cause = Cause::HigherPriority { holder: LOWER_ADDRESS, theirs: 101, ours: 100 };
    let at = ms(DOWN_MS) + Duration::from_nanos(360_937_500);
    assert_eq!(
        effects,
        [
            Effect::RemoveAddresses,
            Effect::Transition { from: State::Active, to: State::Backup, cause },
            Effect::SetTimer { at },
        ]
    );
}

#[test]
fn equal_priorities_are_decided_by_the_primary_address() {
    let mut scene = Scene::active(config());
    scene.hear(LOWER_ADDRESS, 100);
    assert_eq!(scene.state(), State::Active);
    let effects = scene.hear(HIGHER_ADDRESS, 100);
    assert_eq!(causes(&effects), [Cause::HigherAddress { holder: HIGHER_ADDRESS, priority: 100 }]);
    assert_eq!(scene.state(), State::Backup);
    // A backup follows its equal.
    for at in (400..=2_000).step_by(100) {
        scene.until(at);
        scene.hear(LOWER_ADDRESS, 100);
    }
    assert_eq!(scene.state(), State::Backup);
}

#[test]
fn a_holder_answers_a_lower_priority_once_per_interval() {
    let mut scene = Scene::active(config());
    let answer = scene.hear(HIGHER_ADDRESS, 99);
    assert_eq!(advertisements(&answer), [100]);
    assert_eq!(announcements(&answer), [5]);
    assert_eq!(scene.hear(HIGHER_ADDRESS, 99), []);
    scene.until(DOWN_MS + INTERVAL_MS);
    assert_eq!(announcements(&scene.hear(HIGHER_ADDRESS, 99)), [5]);
}

#[test]
fn a_holder_speaks_at_once_when_another_resigns() {
    let mut scene = Scene::active(config());
    assert_eq!(advertisements(&scene.hear(HIGHER_ADDRESS, 0)), [100]);
    assert_eq!(scene.state(), State::Active);
}

#[test]
fn a_holder_speaks_every_interval_and_renews_its_addresses() {
    let mut scene = Scene::active(config());
    let effects = scene.until(DOWN_MS + 2_000);
    assert_eq!(advertisements(&effects), [100; 20]);
    assert_eq!(effects.iter().filter(|effect| **effect == Effect::AddAddresses).count(), 4);
}

#[test]
fn announcements_come_in_two_bursts_of_five() {
    let mut scene = Scene::started(config());
    assert_eq!(announcements(&scene.until(DOWN_MS)), [5]);
    assert_eq!(announcements(&scene.until(DOWN_MS + 4_999)), [0; 0]);
    assert_eq!(announcements(&scene.until(DOWN_MS + 60_000)), [5]);
}

#[test]
fn the_announcement_policy_is_settable() {
    let garp = GarpPolicy { burst: 2, repeat_after: None, refresh: Some(ms(1_000)), lower_priority_burst: 1 };
    let mut scene = Scene::started(RouterConfig { garp, ..config() });
    assert_eq!(announcements(&scene.until(DOWN_MS + 3_000)), [2, 1, 1, 1]);
    assert_eq!(announcements(&scene.hear(LOWER_ADDRESS, 1)), [1]);
}

#[test]
fn stopping_removes_the_addresses_and_then_resigns() {
    let mut scene = Scene::active(RouterConfig { fenced: false, ..config() });
    let effects = scene.router.handle(Event::Stop { now: scene.now });
    assert_eq!(
        effects,
        [
            Effect::RemoveAddresses,
            Effect::SendAdvertisement { priority: 0 },
            Effect::Transition { from: State::Active, to: State::Initialize, cause: Cause::Stopped },
        ]
    );
    assert_eq!(scene.router.deadline(), None);
    assert_eq!(scene.router.handle(Event::Stop { now: scene.now }), []);
}

#[test]
fn a_dead_link_is_left_without_a_word_and_a_live_one_entered_again() {
    let mut scene = Scene::active(config());
    let effects = scene.router.handle(Event::LinkDown { now: scene.now });
    assert_eq!(advertisements(&effects), [0; 0]);
    assert!(effects.contains(&Effect::RemoveAddresses));
    scene.router.handle(Event::Start { now: scene.now });
    assert_eq!(scene.state(), State::Backup);
}

#[test]
fn an_unfit_holder_resigns_and_does_not_come_back_before_it_is_fit() {
    let mut scene = Scene::active(config());
    let effects = scene.router.handle(Event::PriorityChanged { now: scene.now, priority: 0 });
    assert_eq!(advertisements(&effects), [0]);
    assert_eq!(causes(&effects), [Cause::Unfit]);
    assert_eq!(causes(&scene.until(60_000)), []);
    scene.router.handle(Event::PriorityChanged { now: scene.now, priority: 100 });
    assert!(matches!(causes(&scene.until(61_000))[..], [Cause::HolderSilent { .. }]));
}

#[test]
fn a_holder_that_hands_over_resigns_and_takes_it_back_when_nobody_comes() {
    let mut scene = Scene::active(RouterConfig { preempt: false, ..config() });
    let effects = scene.hand_over();
    assert_eq!(
        effects[..3],
        [
            Effect::RemoveAddresses,
            Effect::SendAdvertisement { priority: 0 },
            Effect::Transition {
                from: State::Active,
                to: State::Backup,
                cause: Cause::HandedOver { to: "n9".to_owned() }
            },
        ]
    );
    assert_eq!(scene.hand_over(), [], "a backup has nothing to hand over");
    assert_eq!(scene.router.priority(), 100);
    let effects = scene.until(2 * DOWN_MS);
    assert!(matches!(causes(&effects)[..], [Cause::HolderSilent { .. }]), "{effects:?}");
    // Somebody comes: it follows, though its own priority may be higher.
    scene.hand_over();
    for at in (2 * DOWN_MS + 50..=2_000).step_by(100) {
        assert_eq!(scene.until(at), []);
        scene.hear(HIGHER_ADDRESS, 50);
    }
    assert_eq!(scene.state(), State::Backup);
}

#[test]
fn a_holder_says_its_new_priority_at_once() {
    let mut scene = Scene::active(config());
    let effects = scene.router.handle(Event::PriorityChanged { now: scene.now, priority: 40 });
    assert_eq!(advertisements(&effects), [40]);
    scene.hear(LOWER_ADDRESS, 41);
    assert_eq!(scene.state(), State::Backup);
}

#[test]
fn what_is_not_meant_for_this_router_changes_nothing() {
    let mut scene = Scene::active(config());
    let ours = scene.router.config().advertisement(200);
    assert_eq!(scene.hear_packet(OURS, ours.clone()), [], "our own multicast");
    assert_eq!(scene.hear_packet(HIGHER_ADDRESS, Advertisement { vrid: 52, ..ours.clone() }), []);
    assert_eq!(scene.hear_packet(HIGHER_ADDRESS, Advertisement { version: Version::V2, ..ours.clone() }), []);
    assert_eq!(scene.hear_packet(HIGHER_ADDRESS, Advertisement { auth: Some(Password([0; 8])), ..ours.clone() }), []);
    let foreign = Advertisement { addresses: vec![IpAddr::from([10, 0, 0, 101])], ..ours };
    assert!(!scene.router.config().same_addresses(&foreign));
    scene.hear_packet(HIGHER_ADDRESS, foreign);
    assert_eq!(scene.state(), State::Backup, "other addresses are followed all the same");
}

#[test]
fn a_setup_that_cannot_be_advertised_is_refused() {
    let refused = |config| Router::new(config, OURS).expect_err("refused").to_string();
    assert!(refused(RouterConfig { priority: 0, ..config() }).contains("priority"));
    assert!(refused(RouterConfig { down_timer_adverts: 0, ..config() }).contains("miss"));
    assert!(refused(RouterConfig { addresses: vec![], ..config() }).contains("cannot be advertised"));
    assert!(refused(RouterConfig { addresses: vec![IpAddr::from([0_u16; 8])], ..config() }).contains("family"));
}

#[test]
fn a_holder_that_slept_gives_up_before_it_speaks() {
    let mut scene = Scene::active(RouterConfig { fenced: true, ..config() });
    let effects = scene.late_timer(DOWN_MS + 300);
    let cause = Cause::Slept { silence: ms(DOWN_MS + 300) - Duration::from_nanos(360_937_500), bound: ms(300) };
    assert_eq!(advertisements(&effects), [0; 0]);
    assert_eq!(effects[..2], [Effect::RemoveAddresses, Effect::ReleaseFence]);
    assert_eq!(causes(&effects), [cause]);
    // Below the bound it goes on.
    let mut scene = Scene::active(config());
    assert_eq!(advertisements(&scene.late_timer(DOWN_MS + 299)), [100]);
}

#[test]
fn whatever_wakes_a_sleeper_finds_the_check_first() {
    for event in [
        |now| Event::Stop { now },
        |now| Event::PriorityChanged { now, priority: 200 },
        |now| Event::Fence { now, verdict: Fence::Unknown },
        |now| Event::Advertisement { now, from: LOWER_ADDRESS, packet: config().advertisement(0) },
    ] {
        let mut scene = Scene::active(config());
        let effects = scene.router.handle(event(ms(5_000)));
        assert!(matches!(causes(&effects)[0], Cause::Slept { .. }), "{effects:?}");
        assert_eq!(advertisements(&effects), [0; 0]);
        assert_ne!(scene.state(), State::Active);
    }
}

#[test]
fn a_backup_that_overslept_listens_once_more_and_only_once() {
    let mut scene = Scene::started(config());
    let effects = scene.late_timer(2_000);
    assert!(matches!(effects[..], [Effect::Stay { cause: Cause::Overslept { .. }, .. }, Effect::SetTimer { .. }]));
    assert_eq!(scene.state(), State::Backup);
    scene.late_timer(4_000);
    assert_eq!(scene.state(), State::Active);
}

#[test]
fn the_expected_failover_is_the_worst_and_the_typical_case() {
    let failover = Scene::started(config()).router.expected_failover();
    assert_eq!(failover.worst.as_millis(), 360);
    assert_eq!(failover.typical.as_millis(), 310);
    assert_eq!(failover.orderly.as_millis(), 60);
}

#[test]
fn causes_read_as_sentences() {
    let silence = ms(361);
    let said = |cause: Cause| cause.to_string();
    assert_eq!(
        said(Cause::HolderSilent { holder: Some(LOWER_ADDRESS), silence, fence: FenceWord::Granted }),
        "heard nothing from 10.0.0.1 for 361 ms, and the store granted the address"
    );
    assert_eq!(
        said(Cause::Slept { silence: ms(2_004), bound: ms(300) }),
        "slept: said nothing for 2004 ms, and others take over after 300 ms"
    );
    assert_eq!(said(Cause::HandedOver { to: "n1".into() }), "handed the address over to n1, which asked for it");
    assert_eq!(said(Cause::Fenced { holder: "n1".into() }), "the store says that n1 holds the address");
    assert_eq!(said(Cause::HolderResigned { holder: LOWER_ADDRESS }), "10.0.0.1 gave the address up (priority 0)");
}
