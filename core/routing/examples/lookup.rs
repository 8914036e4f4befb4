//! What routes cost: nanoseconds per lookup with 10 and 10,000 routes, and how long a change of one of them takes.
//!
//! `cargo run --release -p routing --example lookup`

use routing::{RequestHead, Route, RouteSpec, Table};
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Each figure is the least of so many rounds: what others do on the machine only adds.
const ROUNDS: usize = 15;
const LOOKUPS_PER_ROUND: usize = 20_000;

/// The rule of route `n`, and a host and a path (with query) that it takes.
struct Shape {
    name: &'static str,
    rule: fn(usize) -> String,
    host: fn(usize) -> String,
    path: fn(usize) -> String,
}

const SHAPES: [Shape; 7] = [
    Shape {
        name: "a host each",
        rule: |n| format!("Host(`app{n}.example.com`)"),
        host: |n| format!("app{n}.example.com"),
        path: |_| "/".into(),
    },
    Shape {
        name: "a host each, as browsers write it",
        rule: |n| format!("Host(`app{n}.example.com`)"),
        host: |n| format!("App{n}.Example.com:8181"),
        path: |_| "/".into(),
    },
    Shape {
        name: "a wildcard host each",
        rule: |n| format!("Host(`<bucket>.s{n}.example.com`)"),
        host: |n| format!("pictures.s{n}.example.com"),
        path: |_| "/a.png".into(),
    },
    Shape {
        name: "a path each, on one host",
        rule: |n| format!("Host(`a.example`) && Path(`/v1/thing{n}`)"),
        host: |_| "a.example".into(),
        path: |n| format!("/v1/thing{n}"),
    },
    Shape {
        name: "a prefix each, on any host",
        rule: |n| format!("PathPrefix(`/team{n}/`)"),
        host: |_| "a.example".into(),
        path: |n| format!("/team{n}/some/where"),
    },
    Shape {
        name: "a parameter each, on one host",
        rule: |n| format!("Host(`a.example`) && Query(`tenant`, `t{n}`) && Method(`GET`)"),
        host: |_| "a.example".into(),
        path: |n| format!("/?tenant=t{n}"),
    },
    Shape {
        name: "a pattern each, or another host",
        rule: |n| format!("Path(`/<tenant>/s{n}/<path:rest>`) && !Method(`PUT`) || Host(`s{n}`)"),
        host: |_| "a.example".into(),
        path: |n| format!("/acme/s{n}/some/where"),
    },
];

fn main() {
    println!("{:<34} {:>9} {:>9} {:>9} {:>10} {:>10}", "", "10", "10,000", "build", "update", "rebuilt");
    for shape in SHAPES {
        let (small, large) = (routes(&shape, 10), routes(&shape, 10_000));
        let table = Table::new(large.iter().cloned());
        let changed = Arc::new(Route::clone(&large[5000]));
        let mut all = large.clone();
        all[5000] = changed.clone();
        println!(
            "{:<34} {:>6} ns {:>6} ns {:>6.1} ms {:>7.1} µs {:>7.1} µs",
            shape.name,
            lookup(&shape, &Table::new(small.iter().cloned()), small.len()).as_nanos(),
            lookup(&shape, &table, large.len()).as_nanos(),
            least(|| drop(black_box(Table::new(large.iter().cloned())))).as_secs_f64() * 1e3,
            least(|| drop(black_box(table.updated([], [changed.clone()])))).as_secs_f64() * 1e6,
            least(|| drop(black_box(table.rebuilt(&all)))).as_secs_f64() * 1e6,
        );
    }
}

fn routes(shape: &Shape, count: usize) -> Vec<Arc<Route>> {
    let route = |number: usize| {
        let spec = RouteSpec { id: format!("app.{number}"), rule: (shape.rule)(number), ..RouteSpec::default() };
        Arc::new(Route::compile(spec).expect("the rules of the shapes are right"))
    };
    (0..count).map(route).collect()
}

/// Time per lookup, over requests to all routes in a scattered order.
fn lookup(shape: &Shape, table: &Table, count: usize) -> Duration {
    let target = |position: usize| {
        let number = position * 7919 % count;
        ((shape.host)(number), (shape.path)(number))
    };
    let targets: Vec<(String, String)> = (0..count.min(1000)).map(target).collect();
    let client = Ipv4Addr::LOCALHOST.into();
    let whole = least(|| {
        for (host, target) in targets.iter().cycle().take(LOOKUPS_PER_ROUND) {
            let (path, query) =
                target.split_once('?').map_or((target.as_str(), None), |(path, query)| (path, Some(query)));
            let head = RequestHead { method: "GET", host, path, query, headers: &[], client };
            assert!(black_box(table.find_position(&head)).is_some(), "{host}{target}");
        }
    });
    whole / LOOKUPS_PER_ROUND as u32
}

fn least(mut work: impl FnMut()) -> Duration {
    let time = |()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    std::iter::repeat_n((), ROUNDS).map(time).min().unwrap_or_default()
}
