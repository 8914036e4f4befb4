use super::*;
use crate::ServerUrl;
use crate::document::RouteServer;
use proptest::prelude::*;

const NOBODY_BUSY: fn(usize) -> u64 = |_| 0;
const ALL_GOOD: fn(usize) -> Standing = |_| Standing::Good;

fn server(port: usize, weight: u32) -> Server {
    let url = ServerUrl::parse(&format!("http://a:{}", port + 1)).unwrap();
    Server { id: port.to_string(), url, weight, is_canary: false }
}

fn servers(weights: &[u32]) -> Vec<Server> {
    weights.iter().enumerate().map(|(port, weight)| server(port, *weight)).collect()
}

fn balance(json: &str) -> Balance {
    Balance::compile(serde_json::from_str(json).unwrap()).unwrap()
}

fn balancer(json: &str, weights: &[u32]) -> Balancer {
    Balancer::new(&balance(json), servers(weights), None, Duration::ZERO)
}

fn ask(balancer: &mut Balancer, ask: Ask) -> Option<usize> {
    balancer.pick(&ask, ALL_GOOD, NOBODY_BUSY).map(|picked| picked.position)
}

fn at(seconds: u64) -> Ask {
    Ask { now: Duration::from_secs(seconds), ..Ask::default() }
}

fn counts(balancer: &mut Balancer, picks: u32, asked: Ask) -> Vec<u32> {
    let mut counts = vec![0; balancer.servers.len()];
    for _ in 0..picks {
        counts[ask(balancer, asked).unwrap()] += 1;
    }
    counts
}

fn standing_of(position: usize, standing: Standing) -> impl Fn(usize) -> Standing {
    move |at| if at == position { standing } else { Standing::Good }
}

// ---- weighted round robin -------------------------------------------------------------------------------------------

#[test]
fn turns_are_smooth() {
    let mut balancer = balancer("{}", &[5, 1, 1]);
    let order: Vec<_> = (0..7).map(|_| ask(&mut balancer, at(0)).unwrap()).collect();
    assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn nobody_is_picked_from_nothing() {
    assert_eq!(ask(&mut Balancer::default(), at(0)), None);
    let mut balancer = balancer("{}", &[0, 1]);
    assert_eq!(balancer.pick(&at(0), standing_of(1, Standing::Excluded), NOBODY_BUSY), None);
    assert_eq!(ask(&mut balancer, at(0)), Some(1));
}

#[test]
fn turns_survive_a_change_of_servers() {
    let all = servers(&[1, 1, 1]);
    let mut balancer = Balancer::new(&Balance::default(), &all[..], None, Duration::ZERO);
    assert_eq!(ask(&mut balancer, at(0)), Some(0));
    // The last server leaves; it is still the second one's turn, not the first's again.
    let mut balancer = Balancer::new(&Balance::default(), &all[..2], Some(&balancer), Duration::ZERO);
    assert_eq!(ask(&mut balancer, at(0)), Some(1));
}

#[test]
fn the_doubtful_are_asked_when_there_is_nobody_else() {
    let mut balancer = balancer("{}", &[1, 1]);
    let pick = |balancer: &mut Balancer, standings: [Standing; 2]| {
        balancer.pick(&at(0), |position| standings[position], NOBODY_BUSY).map(|picked| picked.position)
    };
    use Standing::*;
    for _ in 0..4 {
        assert_eq!(pick(&mut balancer, [Suspect, Good]), Some(1));
        assert_eq!(pick(&mut balancer, [Suspect, Failed]), Some(0));
        assert_eq!(pick(&mut balancer, [Excluded, Failed]), Some(1));
        assert_eq!(pick(&mut balancer, [Excluded, Excluded]), None);
    }
}

proptest! {
    #[test]
    fn a_full_round_is_proportional(weights in proptest::collection::vec(0u32..20, 1..12)) {
        let total: u32 = weights.iter().sum();
        prop_assume!(total > 0);
        prop_assert_eq!(counts(&mut balancer("{}", &weights), total, at(0)), weights);
    }

    #[test]
    fn shares_stay_near_after_any_changes(
        changes in proptest::collection::vec(proptest::collection::vec(1u32..5, 1..8), 1..10),
        picks in 0u32..50,
    ) {
        let mut balancer = Balancer::default();
        for weights in &changes {
            balancer = Balancer::new(&Balance::default(), servers(weights), Some(&balancer), Duration::ZERO);
            counts(&mut balancer, picks, at(0));
        }
        let weights = changes.last().unwrap();
        let total: u32 = weights.iter().sum();
        let rounds = 10;
        let found = counts(&mut balancer, total * rounds, at(0));
        for (found, weight) in found.iter().zip(weights) {
            let expected = i64::from(weight * rounds);
            // Credits left over from other weights are worth at most a few rounds.
            prop_assert!((i64::from(*found) - expected).abs() <= i64::from(total) * 2, "{found} of {expected}");
        }
    }

    /// Whatever the policy, and whoever comes and goes: who is excluded or weighs nothing is never picked, and somebody is
    /// as long as there is anybody.
    #[test]
    fn a_pick_is_one_that_may_be_picked(
        policy in 0usize..4,
        rounds in proptest::collection::vec(
            (proptest::collection::vec((0u32..4, 0u8..4, 0u64..20), 0..8), any::<u64>(), 0u64..400, 500u16..502), 1..12),
    ) {
        let policy = [
            r#"{"policy":"weighted_round_robin""#, r#"{"policy":"least_connections""#, r#"{"policy":"two_choices""#,
            r#"{"policy":"hash","hash_on":"path""#,
        ][policy];
        let balance = balance(&format!(r#"{policy},"ejection":{{"failures":1}},"sticky":{{}}}}"#));
        let mut balancer = Balancer::default();
        let mut now = Duration::ZERO;
        for (members, random, seconds, status) in rounds {
            now += Duration::from_secs(seconds);
            let weights: Vec<u32> = members.iter().map(|(weight, ..)| *weight).collect();
            balancer = Balancer::new(&balance, servers(&weights), Some(&balancer), now);
            let standings = [Standing::Good, Standing::Suspect, Standing::Failed, Standing::Excluded];
            let standing = |position: usize| standings[usize::from(members[position].1)];
            let asked = Ask { now, random, key: Some(random), cookie: Some(key::of(b"http://a:1")) };
            let picked = balancer.pick(&asked, standing, |position| members[position].2);
            let may = |position: usize| weights[position] > 0 && standing(position) != Standing::Excluded;
            prop_assert_eq!(picked.is_some(), (0..weights.len()).any(may));
            if let Some(Picked { position, .. }) = picked {
                prop_assert!(may(position));
                balancer.observe(position, Balancer::is_failure(status), 1, now);
            }
        }
    }
}

// ---- load -----------------------------------------------------------------------------------------------------------

proptest! {
    #[test]
    fn least_connections_go_where_the_least_is_for_the_weight(
        members in proptest::collection::vec((1u32..10, 0u64..50), 1..10),
    ) {
        let weights: Vec<u32> = members.iter().map(|(weight, _)| *weight).collect();
        let mut balancer = balancer(r#"{"policy":"least_connections"}"#, &weights);
        let picked = balancer.pick(&at(0), ALL_GOOD, |position| members[position].1).unwrap().position;
        let (weight, load) = members[picked];
        for (other_weight, other_load) in &members {
            prop_assert!(load * u64::from(*other_weight) <= other_load * u64::from(weight));
        }
    }

    /// Requests that never end spread as the weights say.
    #[test]
    fn least_connections_fill_by_weight(weights in proptest::collection::vec(1u32..10, 1..8), rounds in 1u64..5) {
        let total: u32 = weights.iter().sum();
        let mut balancer = balancer(r#"{"policy":"least_connections"}"#, &weights);
        let mut loads = vec![0u64; weights.len()];
        for _ in 0..u64::from(total) * rounds {
            let picked = balancer.pick(&at(0), ALL_GOOD, |position| loads[position]).unwrap().position;
            loads[picked] += 1;
        }
        for (load, weight) in loads.iter().zip(&weights) {
            prop_assert!(load.abs_diff(u64::from(*weight) * rounds) <= u64::from(*weight), "{loads:?} of {weights:?}");
        }
    }

    /// Nobody but the most loaded server alone is never picked, and of the two that are drawn the better one is.
    #[test]
    fn of_two_choices_the_most_loaded_is_none(loads in proptest::collection::vec(0u64..100, 2..10), random: u64) {
        let most = *loads.iter().max().unwrap();
        prop_assume!(loads.iter().filter(|load| **load == most).count() == 1);
        let mut balancer = balancer(r#"{"policy":"two_choices"}"#, &vec![1; loads.len()]);
        let asked = Ask { random, ..Ask::default() };
        let picked = balancer.pick(&asked, ALL_GOOD, |position| loads[position]).unwrap().position;
        prop_assert!(loads[picked] < most);
    }
}

#[test]
fn among_the_idle_turns_are_taken() {
    let mut balancer = balancer(r#"{"policy":"least_connections"}"#, &[3, 1]);
    assert_eq!(counts(&mut balancer, 40, at(0)), [30, 10]);
}

/// Balls into bins: two choices stay within a few of the mean where one choice strays by tens.
#[test]
fn two_choices_are_nearly_even() {
    let mut balancer = balancer(r#"{"policy":"two_choices"}"#, &[1; 20]);
    let mut loads = [0u64; 20];
    for number in 0..20_000 {
        let asked = Ask { random: mixed(number), ..Ask::default() };
        let picked = balancer.pick(&asked, ALL_GOOD, |position| loads[position]).unwrap().position;
        loads[picked] += 1;
    }
    assert!(loads.iter().all(|load| load.abs_diff(1000) <= 10), "{loads:?}");
}

#[test]
fn two_choices_draw_by_weight() {
    let mut balancer = balancer(r#"{"policy":"two_choices"}"#, &[9, 1]);
    let mut counts = [0u32; 2];
    for number in 0..10_000 {
        counts[ask(&mut balancer, Ask { random: mixed(number), ..Ask::default() }).unwrap()] += 1;
    }
    assert!(counts[1].abs_diff(1000) < 150, "{counts:?}");
}

// ---- hash -----------------------------------------------------------------------------------------------------------

const HASH: &str = r#"{"policy":"hash","hash_on":"path"}"#;

/// Where each key goes, by URL.
fn homes(servers: &[Server], keys: u64) -> Vec<String> {
    let mut balancer = Balancer::new(&balance(HASH), servers, None, Duration::ZERO);
    let home = |key| ask(&mut balancer, Ask { key: Some(mixed(key)), ..Ask::default() }).unwrap();
    (0..keys).map(home).map(|position| servers[position].url.to_string()).collect()
}

proptest! {
    /// When a server leaves only its keys move; seen the other way round, when it comes keys move only to it.
    #[test]
    fn only_the_keys_of_who_leaves_move(
        weights in proptest::collection::vec(1u32..5, 2..12),
        leaving: proptest::sample::Index,
    ) {
        let all = servers(&weights);
        let leaving = leaving.index(all.len());
        let gone = all[leaving].url.to_string();
        let mut rest = all.clone();
        rest.remove(leaving);
        for (before, after) in homes(&all, 500).iter().zip(homes(&rest, 500)) {
            prop_assert!(*before == after || *before == gone, "a key moved from {before} to {after}");
        }
    }

    #[test]
    fn a_greater_weight_only_draws_keys(weights in proptest::collection::vec(1u32..5, 2..8), more in 1u32..5) {
        let mut heavier = weights.clone();
        heavier[0] += more;
        let (before, after) = (homes(&servers(&weights), 500), homes(&servers(&heavier), 500));
        for (before, after) in before.iter().zip(after) {
            prop_assert!(*before == after || after == "http://a:1");
        }
    }

    /// Whatever the keys: nobody has more in flight than the bound.
    #[test]
    fn no_load_goes_beyond_its_bound(
        weights in proptest::collection::vec(1u32..5, 1..8),
        keys in proptest::collection::vec(0u64..3, 1..300),
    ) {
        let mut balancer = balancer(HASH, &weights);
        let mut loads = vec![0u64; weights.len()];
        let total_weight = u64::from(weights.iter().sum::<u32>());
        for (requests, key) in (1..).zip(keys) {
            let asked = Ask { key: Some(mixed(key)), ..Ask::default() };
            let picked = balancer.pick(&asked, ALL_GOOD, |position| loads[position]).unwrap().position;
            loads[picked] += 1;
            let bound = (requests * 125 * u64::from(weights[picked])).div_ceil(100 * total_weight).max(4);
            prop_assert!(loads[picked] <= bound, "{loads:?} of {weights:?}");
        }
    }
}

#[test]
fn keys_are_shared_by_weight_and_a_newcomer_takes_its_share() {
    let share = |homes: &[String], url: &str| homes.iter().filter(|home| *home == url).count();
    let before = homes(&servers(&[1, 2, 1]), 8_000);
    for (url, expected) in [("http://a:1", 2_000usize), ("http://a:2", 4_000), ("http://a:3", 2_000)] {
        assert!(share(&before, url).abs_diff(expected) < 200, "{url}: {}", share(&before, url));
    }
    let after = homes(&servers(&[1, 2, 1, 1]), 8_000);
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert!(moved.abs_diff(1_600) < 200, "{moved} of 8000 keys moved to a fifth of the weight");
}

#[test]
fn without_a_key_turns_are_taken_and_a_failed_home_is_passed_over() {
    let mut balancer = balancer(HASH, &[1, 1]);
    assert_eq!(counts(&mut balancer, 10, at(0)), [5, 5]);
    let asked = Ask { key: Some(7), ..Ask::default() };
    let home = ask(&mut balancer, asked).unwrap();
    let elsewhere = balancer.pick(&asked, standing_of(home, Standing::Failed), NOBODY_BUSY).unwrap().position;
    assert_ne!(elsewhere, home);
    assert_eq!(ask(&mut balancer, asked), Some(home));
}

// ---- sticky, canary, slow start, ejection ---------------------------------------------------------------------------

#[test]
fn a_cookie_keeps_a_client_until_its_server_leaves() {
    let (balance, all) = (balance(r#"{"sticky":{"cookie":"s"}}"#), servers(&[1, 1, 1]));
    let mut balancer = Balancer::new(&balance, &all[..], None, Duration::ZERO);
    let first = balancer.pick(&at(0), ALL_GOOD, NOBODY_BUSY).unwrap();
    assert!(first.sets_cookie);
    let set = balancer.set_cookie(first.position, true).unwrap();
    let set = std::str::from_utf8(set.as_bytes()).unwrap();
    let (value, attributes) = set.strip_prefix("s=").unwrap().split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax; Secure");
    assert!(!balancer.set_cookie(first.position, false).unwrap().as_bytes().ends_with(b"Secure"));
    let asked = Ask { cookie: sticky::named(value), ..Ask::default() };
    for _ in 0..5 {
        let again = balancer.pick(&asked, ALL_GOOD, NOBODY_BUSY).unwrap();
        assert_eq!(again, Picked { position: first.position, sets_cookie: false });
    }
    let failed = standing_of(first.position, Standing::Failed);
    let elsewhere = balancer.pick(&asked, failed, NOBODY_BUSY).unwrap();
    assert!(elsewhere.position != first.position && elsewhere.sets_cookie);
    // Others leave: it stays. It leaves: the next one is named.
    let mut balancer = Balancer::new(&balance, &all[..1], Some(&balancer), Duration::ZERO);
    assert_eq!(balancer.pick(&asked, ALL_GOOD, NOBODY_BUSY), Some(Picked { position: 0, sets_cookie: false }));
    let mut balancer = Balancer::new(&balance, &all[1..], Some(&balancer), Duration::ZERO);
    assert!(balancer.pick(&asked, ALL_GOOD, NOBODY_BUSY).unwrap().sets_cookie);
}

fn canary(percent: u8, policy: &str) -> Balancer {
    let url = "http://a:3".to_owned();
    let servers_of = vec![RouteServer { id: "c".into(), url, weight: 1 }];
    let spec = BalanceSpec {
        canary: Some(CanarySpec { percent, servers: servers_of }),
        ..serde_json::from_str(policy).unwrap()
    };
    let mut all = servers(&[1, 1, 1]);
    all[2].is_canary = true;
    Balancer::new(&Balance::compile(spec).unwrap(), &all[..], None, Duration::ZERO)
}

#[test]
fn a_canary_gets_its_share_evenly() {
    let mut balancer = canary(10, "{}");
    for _ in 0..5 {
        assert_eq!(counts(&mut balancer, 10, at(0))[2], 1);
    }
    assert_eq!(counts(&mut canary(0, "{}"), 100, at(0)), [50, 50, 0]);
    assert_eq!(counts(&mut canary(100, "{}"), 100, at(0)), [0, 0, 100]);
    let none = |balancer: &mut Balancer, out: [bool; 3]| {
        let standing = |position: usize| if out[position] { Standing::Excluded } else { Standing::Good };
        balancer.pick(&at(0), standing, NOBODY_BUSY).map(|picked| picked.position)
    };
    assert_eq!(none(&mut canary(10, "{}"), [true, true, false]), Some(2), "better than nothing");
    assert_eq!(none(&mut canary(0, "{}"), [true, true, false]), None, "but none of it was asked for");
    assert!(none(&mut canary(100, "{}"), [false, false, true]).is_some());
}

#[test]
fn a_key_stays_in_or_out_of_the_canary() {
    let mut balancer = canary(25, HASH);
    let mut inside = 0;
    for key in 0..4_000 {
        let asked = Ask { key: Some(mixed(key)), ..Ask::default() };
        let first = ask(&mut balancer, asked);
        assert_eq!(ask(&mut balancer, asked), first);
        inside += u32::from(first == Some(2));
    }
    assert!(inside.abs_diff(1_000) < 120, "{inside}");
}

#[test]
fn a_newcomer_begins_slowly_and_those_from_the_first_do_not() {
    let balance = balance(r#"{"slow_start_seconds":100}"#);
    let mut balancer = Balancer::new(&balance, servers(&[1]), None, Duration::ZERO);
    balancer = Balancer::new(&balance, servers(&[1, 1]), Some(&balancer), Duration::from_secs(1_000));
    let share = |balancer: &mut Balancer, age: u64| counts(balancer, 3_000, at(1_000 + age))[1];
    let shares: Vec<u32> = [0, 50, 100].into_iter().map(|age| share(&mut balancer, age)).collect();
    // A tenth, a half and the whole of the other's.
    for (share, expected) in shares.iter().zip([270u32, 1_000, 1_500]) {
        assert!(share.abs_diff(expected) < 20, "{shares:?}");
    }
    let mut again = Balancer::new(&balance, servers(&[1, 1]), Some(&balancer), Duration::from_secs(1_050));
    assert!(share(&mut again, 50).abs_diff(1_000) < 20, "a change begins nothing anew");
}

#[test]
fn who_fails_in_a_row_is_ejected_for_a_growing_time() {
    let mut balancer =
        balancer(r#"{"ejection":{"failures":3,"seconds":10,"seconds_max":25},"slow_start_seconds":0}"#, &[1, 1]);
    let observe = |balancer: &mut Balancer, status, second| {
        balancer.observe(0, Balancer::is_failure(status), 1, Duration::from_secs(second));
    };
    let is_asked = |balancer: &mut Balancer, second| counts(balancer, 10, at(second))[0] > 0;
    for status in [500, 502, 200, 503, 504] {
        observe(&mut balancer, status, 0);
        assert!(is_asked(&mut balancer, 0), "not three in a row");
    }
    observe(&mut balancer, 500, 0);
    assert!(!is_asked(&mut balancer, 9) && is_asked(&mut balancer, 10));
    // On trial: one more is enough, for twice as long, then for as long as may be.
    observe(&mut balancer, 500, 10);
    assert!(!is_asked(&mut balancer, 29) && is_asked(&mut balancer, 30));
    observe(&mut balancer, 500, 30);
    assert!(!is_asked(&mut balancer, 54) && is_asked(&mut balancer, 55));
    // A success, and a good while: from the beginning.
    observe(&mut balancer, 200, 100);
    (0..3).for_each(|_| observe(&mut balancer, 500, 101));
    assert!(!is_asked(&mut balancer, 110) && is_asked(&mut balancer, 111));
}

#[test]
fn at_most_half_are_ejected_also_after_others_left() {
    let (balance, all) = (balance(r#"{"ejection":{"failures":1,"seconds":10}}"#), servers(&[1; 4]));
    let mut balancer = Balancer::new(&balance, &all[..], None, Duration::ZERO);
    for position in 0..4 {
        balancer.observe(position, true, 1, Duration::from_secs(position as u64));
    }
    assert_eq!(counts(&mut balancer, 10, at(5)), [0, 0, 5, 5]);
    let mut balancer = Balancer::new(&balance, &all[..2], Some(&balancer), Duration::from_secs(5));
    assert_eq!(counts(&mut balancer, 10, at(5)), [10, 0], "the one that was to return soonest");
    let mut alone = Balancer::new(&balance, &all[1..2], Some(&balancer), Duration::from_secs(5));
    assert_eq!(counts(&mut alone, 10, at(5)), [10]);
}

#[test]
fn the_rebalancer_moves_requests_from_who_errs() {
    let mut balancer = balancer(r#"{"rebalance":true}"#, &[1, 1]);
    assert!(balancer.observes() && !Balancer::default().observes());
    for second in 0..11 {
        balancer.observe(0, true, 1, Duration::from_secs(second));
        balancer.observe(1, false, 1, Duration::from_secs(second));
    }
    assert_eq!(counts(&mut balancer, 50, at(11)), [10, 40]);
    // Newcomers change nothing of it.
    let mut balancer =
        Balancer::new(&balance(r#"{"rebalance":true}"#), servers(&[1, 1, 1]), Some(&balancer), Duration::from_secs(11));
    assert_eq!(counts(&mut balancer, 90, at(11)), [10, 40, 40]);
}
