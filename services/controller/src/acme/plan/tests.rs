use super::super::record::UnderWay;
use super::*;
use CertificateIssuer as Issuer;
use proptest::prelude::*;

const DAY: i64 = 24 * 60 * 60 * 1000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn held(name: &str, from: i64, to: i64, issuer: Issuer) -> (String, Held) {
    let id = super::super::record::certificate_id(issuer, name);
    (id, Held { names: vec![name.to_owned()], not_before: at(from), not_after: at(to), issuer })
}

fn wanted(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn tried(next_at: Option<i64>) -> OrderRecord {
    OrderRecord { failures: 1, next_at: next_at.map(at), ..OrderRecord::default() }
}

fn under_way() -> Option<UnderWay> {
    Some(UnderWay { directory: String::new(), url: String::new(), sealed_key: String::new(), step: String::new() })
}

fn order(name: &str) -> Vec<Action> {
    vec![Action::Order(name.to_owned())]
}

#[test]
fn a_name_without_a_certificate_is_asked_for_and_one_at_a_time() {
    let none = BTreeMap::new();
    assert_eq!(plan(at(5), &wanted(&[]), &none, &BTreeMap::new()), Plan::default());
    let both = plan(at(5), &wanted(&["b", "a"]), &none, &BTreeMap::new());
    assert_eq!(both.actions, order("a"));
    // What was begun goes first, whoever leads.
    let orders = [("b".to_owned(), OrderRecord { under_way: under_way(), ..OrderRecord::default() })].into();
    assert_eq!(plan(at(5), &wanted(&["b", "a"]), &none, &orders).actions, order("b"));
}

#[test]
fn a_certificate_is_renewed_after_two_thirds_of_its_life_and_by_demand() {
    let certificates: BTreeMap<_, _> = [held("a", 0, 90 * DAY, Issuer::Acme)].into();
    let plan_at = |now| plan(at(now), &wanted(&["a"]), &certificates, &BTreeMap::new());
    assert_eq!(plan_at(59 * DAY), Plan { actions: Vec::new(), look_at: Some(at(60 * DAY)) });
    assert_eq!(plan_at(60 * DAY).actions, order("a"));
    let orders = [("a".to_owned(), OrderRecord { renews: true, ..OrderRecord::default() })].into();
    assert_eq!(plan(at(DAY), &wanted(&["a"]), &certificates, &orders).actions, order("a"));
}

#[test]
fn a_name_that_failed_waits_and_holds_up_nobody() {
    let orders: BTreeMap<_, _> = [("a".to_owned(), tried(Some(100)))].into();
    let planned = plan(at(50), &wanted(&["a", "b"]), &BTreeMap::new(), &orders);
    assert_eq!(planned, Plan { actions: order("b"), look_at: Some(at(100)) });
    assert_eq!(plan(at(100), &wanted(&["a"]), &BTreeMap::new(), &orders).actions, order("a"));
    let waits: Vec<u64> = (1..=13).map(|failures| backoff(failures).as_secs() / 60).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1440, 1440]);
    assert_eq!(backoff(u32::MAX), BACKOFF_MAX);
}

#[test]
fn an_order_that_may_be_lost_is_not_asked_for_again_at_once() {
    let mut lost = OrderRecord::default();
    lost.asks(at(1_000));
    let orders: BTreeMap<_, _> = [("a".to_owned(), lost)].into();
    let waits = plan(at(2_000), &wanted(&["a"]), &BTreeMap::new(), &orders);
    assert_eq!(waits, Plan { actions: Vec::new(), look_at: Some(at(61_000)) });
    assert_eq!(plan(at(61_000), &wanted(&["a"]), &BTreeMap::new(), &orders).actions, order("a"));
}

#[test]
fn a_given_certificate_is_as_good_and_never_touched() {
    let certificates: BTreeMap<_, _> = [held("a", 0, 90, Issuer::Given), held("old", 0, 10, Issuer::Given)].into();
    assert!(plan(at(50), &wanted(&["a"]), &certificates, &BTreeMap::new()).actions.is_empty());
    assert_eq!(plan(at(60), &wanted(&["a"]), &certificates, &BTreeMap::new()).actions, order("a"));
}

#[test]
fn what_nobody_wants_serves_until_it_ends() {
    let certificates: BTreeMap<_, _> = [held("a", 0, 90, Issuer::Acme)].into();
    let orders: BTreeMap<_, _> = [("a".to_owned(), tried(None))].into();
    let planned = plan(at(50), &wanted(&[]), &certificates, &orders);
    assert_eq!(planned, Plan { actions: vec![Action::Forget("a".into())], look_at: Some(at(90)) });
    let planned = plan(at(90), &wanted(&[]), &certificates, &BTreeMap::new());
    assert_eq!(planned.actions, vec![Action::Drop("acme.a".into())]);
    assert_eq!(plan(at(90), &wanted(&["a"]), &certificates, &BTreeMap::new()).actions, order("a"), "it is replaced");
}

#[test]
fn the_authoritys_limit_is_not_reached() {
    let many = |tried_at: Vec<Timestamp>| OrderRecord { tried_at, ..OrderRecord::default() };
    let window = ORDERS_WINDOW.as_millis() as i64;
    let orders: BTreeMap<_, _> =
        (0..ORDERS_MAX as i64).map(|number| (format!("n{number}"), many(vec![at(1000 + number)]))).collect();
    let mut names: BTreeSet<String> = orders.keys().cloned().collect();
    let certificates = names.iter().map(|name| held(name, 0, 900 * DAY, Issuer::Acme)).collect();
    names.insert("new".into());
    let planned = plan(at(5000), &names, &certificates, &orders);
    assert_eq!((planned.actions, planned.look_at), (Vec::new(), Some(at(1000 + window))));
    assert_eq!(plan(at(1000 + window), &names, &certificates, &orders).actions, order("new"));
}

fn record() -> impl Strategy<Value = OrderRecord> {
    (any::<bool>(), any::<bool>(), prop::option::of(0..200i64), prop::collection::vec(0..200i64, 0..4)).prop_map(
        |(renews, begun, next_at, tried_at)| OrderRecord {
            renews,
            under_way: if begun { under_way() } else { None },
            next_at: next_at.map(at),
            tried_at: tried_at.into_iter().map(at).collect(),
            ..OrderRecord::default()
        },
    )
}

proptest! {
    /// Whatever is there: at most one order, only for a name that is wanted, and never before its time; nothing that
    /// serves or that a person gave is deleted; a plan that does nothing is looked at again in the future, or never.
    #[test]
    fn plans_keep_their_promises(
        now in 0..200i64,
        names in prop::collection::btree_set("[a-d]", 0..4),
        dates in prop::collection::btree_map("[a-d]", (0..100i64, 0..200i64, any::<bool>()), 0..4),
        orders in prop::collection::btree_map("[a-d]", record(), 0..4),
    ) {
        let now = at(now);
        let certificates: BTreeMap<String, Held> = dates
            .iter()
            .map(|(name, (from, life, given))| {
                held(name, *from, from + life, if *given { Issuer::Given } else { Issuer::Acme })
            })
            .collect();
        let planned = plan(now, &names, &certificates, &orders);
        let asked: Vec<&String> =
            planned.actions.iter().filter_map(|action| if let Action::Order(name) = action { Some(name) } else { None }).collect();
        prop_assert!(asked.len() <= 1);
        for name in asked {
            prop_assert!(names.contains(name));
            let order = orders.get(name).cloned().unwrap_or_default();
            prop_assert!(order.next_at.is_none_or(|next| next <= now));
            let fresh = certificates.values().any(|held| held.names.contains(name) && renew_at(held) > now && held.not_after > now);
            prop_assert!(!fresh || order.renews || order.under_way.is_some());
        }
        for action in &planned.actions {
            match action {
                Action::Drop(id) => {
                    let held = &certificates[id];
                    prop_assert!(held.issuer == Issuer::Acme && held.not_after <= now && !names.contains(&held.names[0]));
                }
                Action::Forget(name) => prop_assert!(!names.contains(name)),
                Action::Order(_) => {}
            }
        }
        prop_assert!(planned.look_at.is_none_or(|next| next > now));
    }

    /// From any beginning, a wanted name gets its order within the longest back-off when the others succeed.
    #[test]
    fn nobody_starves(orders in prop::collection::btree_map("[a-d]", record(), 0..4)) {
        let names = wanted(&["a", "b", "c", "d"]);
        let (mut now, mut orders, mut certificates) = (at(0), orders, BTreeMap::new());
        for _ in 0..20 {
            let planned = plan(now, &names, &certificates, &orders);
            if let Some(Action::Order(name)) = planned.actions.iter().find(|action| matches!(action, Action::Order(_))) {
                orders.entry(name.clone()).or_default().succeeded();
                certificates.extend([held(name, now.as_millis(), now.as_millis() + 900 * DAY, Issuer::Acme)]);
            } else if let Some(next) = planned.look_at {
                now = next;
            }
        }
        prop_assert_eq!(certificates.len(), 4);
    }
}
