use super::*;
use crate::tests::worlds::{Bench, app, id};
use model::{Constraint, ConstraintOperator, PortRange};

fn constrained(name: &str, instances: u32, field: &str, operator: ConstraintOperator, value: Option<&str>) -> App {
    let constraint = Constraint { field: field.into(), operator, value: value.map(str::to_owned) };
    App { constraints: vec![constraint], ..app(name, instances) }
}

/// Three nodes in two racks; the third node has no rack.
fn racks() -> Bench {
    let mut bench = Bench::new(&["a", "b", "c"]);
    for (name, rack) in [("a", "r1"), ("b", "r2")] {
        let record = bench.world.nodes.get_mut(&NodeId::new(name)).unwrap();
        let mut node = model::Node::clone(&record.node);
        node.attributes.insert("rack".into(), rack.into());
        record.node = std::sync::Arc::new(node);
    }
    bench
}

/// Tasks per node once an app was deployed as far as it goes.
fn spread(mut bench: Bench, app: App) -> Vec<usize> {
    let name = app.id.to_string();
    bench.put(vec![app]).unwrap();
    bench.pass();
    let on = |node: &str| bench.tasks(&name).iter().filter(|task| task.node.as_str() == node).count();
    ["a", "b", "c"].into_iter().map(on).collect()
}

#[test]
fn constraints_choose_nodes() {
    use ConstraintOperator::*;
    assert_eq!(spread(racks(), constrained("x", 9, "hostname", Unique, None)), [1, 1, 1]);
    assert_eq!(spread(racks(), constrained("x", 9, "rack", Unique, None)), [1, 1, 0]);
    assert_eq!(spread(racks(), constrained("x", 4, "rack", Cluster, Some("r2"))), [0, 4, 0]);
    assert_eq!(spread(racks(), constrained("x", 4, "rack", Cluster, None)), [4, 0, 0]);
    assert_eq!(spread(racks(), constrained("x", 4, "rack", GroupBy, None)), [2, 2, 0]);
    assert_eq!(spread(racks(), constrained("x", 4, "rack", GroupBy, Some("3"))), [1, 1, 0]);
    assert_eq!(spread(racks(), constrained("x", 2, "hostname", Like, Some("[bc]\\..*"))), [0, 1, 1]);
    assert_eq!(spread(racks(), constrained("x", 2, "rack", Unlike, Some("r.*"))), [0, 0, 2]);
    assert_eq!(spread(racks(), constrained("x", 9, "hostname", MaxPer, Some("2"))), [2, 2, 2]);
    assert_eq!(spread(racks(), constrained("x", 2, "rack", Is, Some("r1"))), [2, 0, 0]);
    assert_eq!(spread(racks(), constrained("x", 2, "rack", Like, Some("("))), [0, 0, 0]);
}

#[test]
fn fixed_and_required_ports_are_honoured() {
    let mut fixed = app("x", 3);
    fixed.ports[0].host_port = 31005;
    assert_eq!(spread(Bench::new(&["a", "b", "c"]), App { instances: 4, ..fixed.clone() }), [1, 1, 1]);
    let mut required = app("y", 1);
    required.require_ports = true;
    required.ports[0].service_port = 80;
    let mut bench = Bench::new(&["a"]);
    bench.put(vec![required.clone()]).unwrap();
    bench.pass();
    assert!(bench.tasks("y").is_empty());
    let why = Placer::of(&bench.world, bench.now).place(&bench.world, &required, &Spread::new()).unwrap_err();
    assert_eq!(why.0[&NodeId::new("a")], Reason::PortNotOffered { port: 80 });

    let mut two = app("z", 1);
    two.ports = vec![fixed.ports[0].clone(), app("z", 1).ports[0].clone()];
    two.ports[0].host_port = 31000;
    let mut bench = Bench::new(&["a"]);
    bench.put(vec![two]).unwrap();
    bench.pass();
    assert_eq!(bench.tasks("z")[0].ports, [31000, 31001]);
}

#[test]
fn the_lowest_free_port_is_taken_and_freed_ones_again() {
    let offered = [PortRange { begin: 40, end: 41 }, PortRange { begin: 10, end: 11 }];
    let taken = BTreeSet::from([10]);
    assert_eq!(ports::choose(&offered, &taken, &|_| false, &app("x", 1)), Ok(vec![11]));
    let taken = BTreeSet::from([10, 11, 40, 41]);
    assert_eq!(ports::choose(&offered, &taken, &|_| false, &app("x", 1)), Err(Reason::Ports { needed: 1 }));
}

#[test]
fn resources_add_up_to_the_last_tenth() {
    let mut bench = Bench::new(&["a"]);
    bench.put(vec![app("x", 81)]).unwrap();
    bench.pass();
    assert_eq!(bench.running("x"), 80);
    let why = crate::explain(&bench.world, &id("x"), bench.now);
    assert!(why.iter().any(|line| line.contains("needs 0.1 cpus, 0 are free")), "{why:?}");
}

/// Tasks of `name` on each of the nodes.
fn counts(bench: &Bench, name: &str) -> Vec<usize> {
    bench.world.nodes.keys().map(|node| bench.on(name, node.as_str())).collect()
}

#[test]
fn the_node_with_the_fewest_of_the_app_comes_before_the_one_with_the_most_room() {
    let mut bench = Bench::new(&["a", "b", "c"]);
    // `a` has next to no room left, `c` the most.
    for (name, node, cpus_milli) in [("big", "a", 7500), ("half", "b", 4000)] {
        let pinned = App {
            cpus_milli,
            ..constrained(name, 1, "hostname", ConstraintOperator::Like, Some(&format!("{node}.*")))
        };
        bench.put(vec![pinned]).unwrap();
        bench.settle();
    }
    let first = |bench: &mut Bench, instances| {
        bench.put(vec![app("x", instances)]).unwrap();
        bench.settle();
        counts(bench, "x")
    };
    assert_eq!(first(&mut bench, 1), [0, 0, 1]);
    assert_eq!(first(&mut bench, 2), [0, 1, 1]);
    assert_eq!(first(&mut bench, 3), [1, 1, 1]);
    assert_eq!(first(&mut bench, 4), [1, 1, 2]);
    assert_eq!(first(&mut bench, 12), [4, 4, 4]);
    // Where one is full the others share the rest.
    assert_eq!(first(&mut bench, 17), [5, 6, 6]);
}

#[test]
fn of_equal_nodes_the_first_is_taken() {
    let mut bench = Bench::new(&["a", "b"]);
    bench.put(vec![app("x", 1)]).unwrap();
    bench.pass();
    assert_eq!(counts(&bench, "x"), [1, 0]);
}

#[test]
fn a_roll_spreads_what_will_stay_not_what_goes() {
    let mut bench = Bench::new(&["a", "b"]);
    bench.falls_silent("b");
    bench.world.nodes.get_mut(&NodeId::new("b")).unwrap().connected = false;
    bench.put(vec![app("x", 4)]).unwrap();
    bench.settle();
    assert_eq!(counts(&bench, "x"), [4, 0]);
    bench.world.nodes.get_mut(&NodeId::new("b")).unwrap().connected = true;
    bench.is_back("b");
    bench.put(vec![App { cmd: Some("other".into()), ..app("x", 4) }]).unwrap();
    bench.settle();
    assert_eq!(counts(&bench, "x"), [2, 2]);
}

proptest::proptest! {
    #[test]
    fn losing_a_node_takes_no_more_than_its_share_of_an_app(instances in 1_u32..40, nodes in 1_usize..6) {
        let names = &["a", "b", "c", "d", "e"][..nodes];
        let mut bench = Bench::new(names);
        bench.put(vec![app("other", 7)]).unwrap();
        bench.settle();
        bench.put(vec![app("x", instances)]).unwrap();
        bench.settle();
        let share = (instances as usize).div_ceil(nodes);
        proptest::prop_assert!(counts(&bench, "x").into_iter().all(|count| count <= share));
    }
}
