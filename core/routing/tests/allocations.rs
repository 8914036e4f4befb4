//! Looking a route up allocates nothing, counted by the allocator itself.

#![allow(unsafe_code)]

use routing::{RequestHead, Route, RouteSpec, Table};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

/// The system's allocator, which counts what each thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came; counting touches a thread-local cell without destructor and
// allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System.alloc` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const RULES: [&str; 9] = [
    "Host(`a.example`)",
    "Host(`a.example`) && Path(`/x`) && Header(`X-Kind`, `image/<name>`)",
    "Host(`<bucket>.s3.example`) && PathPrefix(`/y/`)",
    "HostRegexp(`^b[0-9]+`) && !Method(`PUT`)",
    "Path(`/<tenant>/<path:rest>`) && Query(`q`, `<int:n>`)",
    "PathPrefix(`/z`) && ClientIP(`10.0.0.0/8`, `::1`)",
    "PathRegexp(`^/r/\\w+$`) || MethodRegexp(`^OPT`)",
    "HeaderRegexp(`X-Kind`, `png$`) && QueryRegexp(`q`, `^1`)",
    "!Path(`/nowhere`)",
];

#[test]
fn a_lookup_allocates_nothing() {
    let routes = RULES.iter().map(|rule| {
        let spec = RouteSpec { id: (*rule).to_owned(), rule: (*rule).to_owned(), ..RouteSpec::default() };
        Arc::new(Route::compile(spec).unwrap())
    });
    let table = Table::new(routes);
    let headers = [("x-kind", "image/png")];
    let lookups = || {
        let mut found = 0;
        for host in ["a.example", "A.Example:8181", "pictures.S3.example", "b77", "[::1]:80", "nowhere"] {
            for (path, query) in [("/x", None), ("/y/1", Some("q=1")), ("/z", Some("a&b=2&q=1")), ("/r/ö", None)] {
                let client = "10.0.0.1".parse().unwrap();
                let head = RequestHead { method: "GET", host, path, query, headers: &headers, client };
                found += usize::from(table.find_position(&head).is_some());
            }
        }
        found
    };
    // Regexps build their automata and the hasher its keys when they are first used.
    assert_eq!(lookups(), 24);
    let before = ALLOCATIONS.get();
    assert_eq!(lookups(), 24);
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
