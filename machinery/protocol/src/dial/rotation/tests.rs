use super::*;
use proptest::prelude::*;

fn at(name: &str) -> Address {
    Address::parse(&format!("{name}:1"), true).unwrap()
}

fn all(names: &[&str]) -> Vec<Address> {
    names.iter().map(|name| at(name)).collect()
}

fn dial(name: &str) -> Step {
    Step::Dial(at(name))
}

#[test]
fn a_round_tries_each_once_and_then_rests_a_little_longer_each_time() {
    let mut rotation = Rotation::new(all(&["a", "b"]), all(&["c", "a"]));
    let mut pauses = Vec::new();
    for _ in 0..5 {
        assert_eq!((rotation.step(), rotation.step(), rotation.step()), (dial("c"), dial("a"), dial("b")));
        let Step::Pause(pause) = rotation.step() else { panic!("a round ends in a pause") };
        pauses.push(pause.as_millis());
    }
    assert_eq!(pauses, [50, 100, 200, 250, 250]);
}

#[test]
fn the_leader_a_refusal_names_comes_next_though_nobody_knew_it() {
    let mut rotation = Rotation::new(all(&["a", "b"]), vec![]);
    assert_eq!(rotation.step(), dial("a"));
    rotation.ended(at("a"), None, Some(at("x")));
    assert_eq!(rotation.step(), dial("x"));
    // Which refuses, too, and names one that was tried.
    rotation.ended(at("x"), None, Some(at("a")));
    assert_eq!(rotation.step(), dial("b"));
}

#[test]
fn after_a_lasting_session_the_others_are_tried_at_once() {
    let mut rotation = Rotation::new(all(&["a", "b", "c"]), vec![]);
    assert_eq!(rotation.step(), dial("a"));
    rotation.ended(at("a"), Some(LASTING), None);
    assert_eq!((rotation.step(), rotation.step(), rotation.step()), (dial("b"), dial("c"), dial("a")));
}

#[test]
fn a_leader_that_ends_sessions_at_once_is_not_asked_without_a_pause() {
    let mut rotation = Rotation::new(all(&["a"]), vec![]);
    assert_eq!(rotation.step(), dial("a"));
    rotation.ended(at("a"), Some(Duration::ZERO), Some(at("a")));
    assert_eq!(rotation.step(), Step::Pause(PAUSE_MIN));
}

#[test]
fn an_empty_list_says_nothing() {
    let mut rotation = Rotation::new(vec![], all(&["a"]));
    assert!(!rotation.told(&[]));
    assert!(!rotation.told(&all(&["a", "a"])));
    assert!(rotation.told(&all(&["b", "a"])));
    assert_eq!(rotation.step(), dial("b"));
}

#[derive(Clone, Debug)]
enum Outcome {
    NoAnswer,
    Refused(u8),
    Opened { lasted_ms: u64 },
    Told(Vec<u8>),
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::NoAnswer),
        (0..8_u8).prop_map(Outcome::Refused),
        (0..3_000_u64).prop_map(|lasted_ms| Outcome::Opened { lasted_ms }),
        proptest::collection::vec(0..8_u8, 0..6).prop_map(Outcome::Told),
    ]
}

proptest! {
    /// Whatever controllers do: between two pauses nobody is tried twice unless a session had lasted, everybody known is
    /// tried, who was named as the leader comes next, and pauses keep to their bounds.
    #[test]
    fn rounds_are_fair_and_bounded(outcomes in proptest::collection::vec(outcome(), 1..200)) {
        let name = |number: u8| at(&format!("n{number}"));
        let mut rotation = Rotation::new(vec![name(0), name(1)], vec![]);
        let mut tried: Vec<Address> = Vec::new();
        let mut hint: Option<Address> = None;
        let mut hints = 0;
        for outcome in outcomes {
            let address = match rotation.step() {
                Step::Dial(address) => address,
                Step::Pause(pause) => {
                    prop_assert!((PAUSE_MIN..=PAUSE_MAX).contains(&pause));
                    for known in rotation.told.iter().chain(&rotation.configured) {
                        prop_assert!(tried.contains(known), "{known} was left out");
                    }
                    tried.clear();
                    (hint, hints) = (None, 0);
                    continue;
                }
            };
            prop_assert!(!tried.contains(&address), "{address} twice in a round");
            if let Some(hint) = hint.take().filter(|hint| !tried.contains(hint) && hints < HINTS_MAX) {
                prop_assert_eq!(&hint, &address);
                hints += 1;
            }
            tried.push(address.clone());
            match outcome {
                Outcome::NoAnswer => {}
                Outcome::Refused(leader) => {
                    hint = Some(name(leader));
                    rotation.ended(address, None, hint.clone());
                }
                Outcome::Opened { lasted_ms } => {
                    let lasted = Duration::from_millis(lasted_ms);
                    rotation.ended(address, Some(lasted), None);
                    if lasted >= LASTING {
                        tried.clear();
                        hints = 0;
                    }
                }
                Outcome::Told(list) => {
                    let list: Vec<_> = list.into_iter().map(name).collect();
                    rotation.told(&list);
                }
            }
        }
    }
}
