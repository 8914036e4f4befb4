//! Several nodes with one store between them, each of which looks once a second.

use super::*;
use proptest::prelude::*;

const AFTER_S: u64 = 10;
const NODES: usize = 4;

/// The store, and who is ready.
struct World {
    now_s: u64,
    balances: Vec<Balance>,
    view: View,
    is_ready: [bool; NODES],
    /// Address, giver, taker, and when.
    moves: Vec<(String, String, String, u64)>,
    ready_since_s: [u64; NODES],
}

fn name(node: usize) -> String {
    format!("n{node}")
}

impl World {
    /// The first node holds everything, and is alone.
    fn founded(addresses: usize, after_s: u64) -> Self {
        let after = Duration::from_secs(after_s);
        let keys = (0..addresses).map(|number| format!("k{number}"));
        let balances = (0..NODES).map(|node| Balance::new(name(node), addresses, after)).collect();
        let view = View {
            holders: keys.clone().map(|key| (key, name(0))).collect(),
            ready: BTreeMap::from([(name(0), BTreeSet::new())]),
            heard: keys.collect(),
        };
        let is_ready = std::array::from_fn(|node| node == 0);
        Self { now_s: 0, balances, view, is_ready, moves: Vec::new(), ready_since_s: [0; NODES] }
    }

    /// Whoever is not ready gives its addresses up, to any that is.
    fn set_ready(&mut self, node: usize, ready: bool) {
        if std::mem::replace(&mut self.is_ready[node], ready) == ready {
            return;
        }
        self.ready_since_s[node] = self.now_s;
        if ready {
            self.view.ready.insert(name(node), BTreeSet::new());
            return;
        }
        self.view.ready.remove(&name(node));
        if let Some(other) = self.view.ready.keys().next().cloned() {
            for holder in self.view.holders.values_mut().filter(|holder| **holder == name(node)) {
                holder.clone_from(&other);
            }
        }
    }

    /// A second passes, and everyone looks, one after the other. What is given arrives.
    fn second(&mut self) {
        self.now_s += 1;
        let now = Duration::from_secs(self.now_s);
        for node in 0..NODES {
            let Decision { asks, gives } = self.balances[node].decide(now, Some(&self.view));
            if let Some(known) = self.view.ready.get_mut(&name(node)) {
                *known = asks;
            }
            for (key, to) in gives {
                self.view.holders.insert(key.clone(), to.clone());
                self.moves.push((key, name(node), to, self.now_s));
            }
        }
    }

    fn seconds(&mut self, count: u64) {
        (0..count).for_each(|_| self.second());
    }

    fn counts(&self) -> Vec<usize> {
        let held = |node: &String| self.view.holders.values().filter(|holder| *holder == node).count();
        self.view.ready.keys().map(held).collect()
    }

    fn stranded(&self) -> usize {
        self.view.holders.values().filter(|holder| !self.view.ready.contains_key(*holder)).count()
    }

    /// Every move makes this less: the addresses of holders that are not ready, then the squares.
    fn unevenness(&self) -> (usize, usize) {
        (self.stranded(), self.counts().iter().map(|count| count * count).sum())
    }

    fn is_even(&self) -> bool {
        if self.stranded() > 0 {
            return false;
        }
        let counts = self.counts();
        counts.iter().max().unwrap_or(&0) <= &(counts.iter().min().unwrap_or(&0) + 1)
    }

    /// The second node joins, and is never ready for as long as anyone is patient.
    fn flaps(&mut self) {
        for _ in 0..20 {
            self.set_ready(1, true);
            self.seconds(AFTER_S / 2);
            self.set_ready(1, false);
            self.seconds(AFTER_S / 2);
        }
    }
}

#[test]
fn two_addresses_of_a_founder_are_shared_with_the_second_node_once() {
    let mut world = World::founded(2, AFTER_S);
    world.seconds(100);
    assert_eq!(world.moves, [], "a founder alone keeps what it has");
    world.set_ready(1, true);
    world.seconds(AFTER_S);
    assert_eq!(world.moves, [], "a node that has just come is waited for");
    world.seconds(1_000);
    assert_eq!(world.counts(), [1, 1]);
    assert_eq!(world.moves.len(), 1, "{:?}", world.moves);
}

#[test]
fn a_node_that_comes_and_goes_moves_nothing() {
    let mut world = World::founded(2, AFTER_S);
    world.seconds(100);
    world.flaps();
    assert_eq!(world.moves, []);
    // What the patience is for.
    let mut mutant = World::founded(2, 0);
    mutant.seconds(100);
    mutant.flaps();
    assert!(mutant.moves.len() >= 20, "{:?}", mutant.moves);
}

#[test]
fn a_holder_that_is_not_ready_is_relieved_by_one_that_is() {
    let mut world = World::founded(2, AFTER_S);
    world.set_ready(0, false);
    world.seconds(100);
    assert_eq!(world.moves, [], "nobody else is ready, either");
    world.set_ready(1, true);
    world.seconds(AFTER_S + 2);
    assert_eq!(world.counts(), [2]);
    world.seconds(1_000);
    assert_eq!(world.moves.len(), 2);
}

#[test]
fn a_node_that_does_not_hear_the_holder_does_not_ask() {
    let mut world = World::founded(2, AFTER_S);
    world.view.heard.clear();
    world.set_ready(1, true);
    world.seconds(1_000);
    assert_eq!(world.moves, []);
}

#[test]
fn an_address_without_a_holder_is_waited_for() {
    let mut balance = Balance::new(name(1), 3, Duration::ZERO);
    let mut view = View {
        holders: BTreeMap::from([("k0".to_owned(), name(0)), ("k1".to_owned(), name(0))]),
        ready: BTreeMap::from([(name(0), BTreeSet::new()), (name(1), BTreeSet::new())]),
        heard: BTreeSet::from(["k0".to_owned(), "k1".to_owned(), "k2".to_owned()]),
    };
    assert_eq!(balance.decide(Moment::ZERO, Some(&view)), Decision::default());
    view.holders.insert("k2".to_owned(), name(0));
    assert_eq!(balance.decide(Moment::ZERO, Some(&view)).asks.len(), 1);
    assert_eq!(balance.decide(Moment::ZERO, None), Decision::default(), "the store does not answer");
}

#[derive(Clone, Debug)]
enum Step {
    Ready(usize, bool),
    Seconds(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..NODES, any::<bool>()).prop_map(|(node, ready)| Step::Ready(node, ready)),
        (1..3 * AFTER_S).prop_map(Step::Seconds),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn whatever_comes_and_goes_it_becomes_even_and_nothing_is_moved_twice_at_once(
        addresses in 0..9_usize,
        steps in prop::collection::vec(any_step(), 0..40),
    ) {
        let mut world = World::founded(addresses, AFTER_S);
        for step in steps {
            let count = match step {
                Step::Seconds(count) => count,
                Step::Ready(node, ready) => {
                    world.set_ready(node, ready);
                    // What is over before anyone looks is not seen.
                    1
                }
            };
            for _ in 0..count {
                let (before, known) = (world.unevenness(), world.moves.len());
                world.second();
                for (key, from, to, at) in &world.moves[known..] {
                    let taker: usize = to[1..].parse().unwrap();
                    prop_assert!(world.is_ready[taker]);
                    prop_assert!(at - world.ready_since_s[taker] >= AFTER_S, "{to} has just come");
                    let earlier = |one: &&(String, String, String, u64)| one.0 == *key || one.1 == *from;
                    if let Some(last) = world.moves[..known].iter().rev().find(earlier) {
                        prop_assert!(at - last.3 >= AFTER_S, "{key} of {from} again after {}", at - last.3);
                    }
                }
                prop_assert!(world.unevenness() < before || world.moves.len() == known, "moved for nothing");
            }
        }
        // All is calm: within one patience to ask, and one for each further gift, it is even, and stays as it is.
        world.seconds((2 + addresses as u64) * (AFTER_S + 2));
        prop_assert!(world.view.ready.is_empty() || world.is_even(), "{:?}", world.view);
        let known = world.moves.len();
        world.seconds(5 * AFTER_S);
        prop_assert_eq!(world.moves.len(), known, "it does not come to rest");
    }
}
