use super::*;
use crate::per_thread::{enter, threads};
use crate::servers::Servers;
use routing::RouteSpec;
use std::thread::scope;

struct World {
    route: Route,
    servers: Vec<Arc<Server>>,
    balancing: Balancing,
}

fn world(balance: &str, weights: &[u32]) -> World {
    let servers = weights.iter().zip(1..).map(|(weight, port)| (port.to_string(), format!("http://a:{port}"), *weight));
    let spec = RouteSpec {
        id: "a".into(),
        rule: "Host(`a`)".into(),
        servers: servers.collect(),
        balance: serde_json::from_str(balance).unwrap(),
        ..RouteSpec::default()
    };
    let route = Route::compile(spec).unwrap();
    let known = Servers::default();
    let servers = route.servers.iter().map(|server| known.get(&server.url)).collect();
    let balancing = Balancing::new(&route, None, || 0, &Checks::default());
    World { route, servers, balancing }
}

impl World {
    fn pick(&self) -> usize {
        let client = std::net::Ipv4Addr::LOCALHOST.into();
        let head = RequestHead { method: "GET", host: "a", path: "/", query: None, headers: &[], client };
        self.balancing.pick(&self.route, &head, &self.servers, |_| true).unwrap().position
    }

    fn picks(&self, count: usize) -> Vec<usize> {
        let mut picks = vec![0; self.servers.len()];
        (0..count).for_each(|_| picks[self.pick()] += 1);
        picks
    }
}

/// Of an engine with as many threads as this machine has cores.
fn on_each_thread<R: Send>(work: impl Fn() -> R + Sync) -> Vec<R> {
    scope(|scope| {
        let work = &work;
        let run = |index| {
            scope.spawn(move || {
                enter(index);
                work()
            })
        };
        let running: Vec<_> = (0..threads()).map(run).collect();
        running.into_iter().map(|running| running.join().unwrap()).collect()
    })
}

#[test]
fn turns_are_exact_on_each_thread_and_begin_further_on_on_the_next() {
    let world = world("{}", &[5, 3, 2]);
    for picks in on_each_thread(|| world.picks(1000)) {
        assert_eq!(picks, [500, 300, 200]);
    }
    let even = self::world("{}", &[1; 64]);
    let mut firsts = on_each_thread(|| even.pick());
    firsts.sort_unstable();
    assert_eq!(firsts, (0..threads()).collect::<Vec<_>>(), "few requests on many threads do not all go to one");
}

#[test]
fn turns_of_each_thread_survive_a_change() {
    let mut world = world("{}", &[1, 1, 1]);
    let before = on_each_thread(|| world.pick());
    world.balancing = Balancing::new(&world.route, Some(&world.balancing), || 0, &Checks::default());
    for (before, after) in before.into_iter().zip(on_each_thread(|| world.pick())) {
        assert_eq!(after, (before + 1) % 3);
    }
}

#[test]
fn what_one_thread_learns_all_threads_know() {
    let world = world(r#"{"ejection":{"failures":3}}"#, &[1, 1]);
    on_each_thread(|| assert_eq!(world.picks(10), [5, 5]));
    scope(|scope| {
        scope.spawn(|| (0..3).for_each(|_| world.balancing.observe(1, 503)));
    });
    on_each_thread(|| assert_eq!(world.picks(10), [10, 0]));
    assert!(world.balancing.state(1, &world.servers[1]).starts_with("ejected"));
    assert_eq!(world.balancing.state(0, &world.servers[0]), "good");
}

#[test]
fn successes_count_though_they_are_told_together() {
    let world = world(r#"{"ejection":{"failures":3}}"#, &[1, 1]);
    for _ in 0..10 {
        // Told with the next failure, before it.
        world.balancing.observe(1, 500);
        world.balancing.observe(1, 500);
        world.balancing.observe(1, 200);
    }
    assert_eq!(world.picks(10), [5, 5]);
}
