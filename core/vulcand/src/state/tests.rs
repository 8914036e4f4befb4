use super::*;
use crate::key::Prefix;
use proptest::prelude::*;
use routing::Service;

const BACKEND: &str = r#"{"Type":"http"}"#;
const FRONTEND: &str = r#"{"Type":"http","BackendId":"b1","Route":"Host(`a`)"}"#;
const SERVER: &str = r#"{"URL":"http://127.0.0.1:5000"}"#;

fn state(keys: &[(&str, &str)]) -> State {
    let mut state = State::default();
    for (key, value) in keys {
        state.put(key.as_bytes(), value.as_bytes());
    }
    state
}

/// All there is.
struct Translation {
    routes: Vec<Arc<Route>>,
    listeners: Vec<ListenerSpec>,
    problems: Vec<Problem>,
}

impl State {
    fn translate(&mut self) -> Translation {
        self.take_changes();
        Translation {
            routes: self.routes().cloned().collect(),
            listeners: self.listeners().cloned().collect(),
            problems: self.problems().cloned().collect(),
        }
    }
}

fn messages(translation: &Translation) -> Vec<&str> {
    translation.problems.iter().map(|problem| problem.message.as_str()).collect()
}

#[test]
fn keys_become_a_route_in_any_order_of_writing() {
    let translation = state(&[
        ("/vulcand/frontends/f1/frontend", FRONTEND),
        ("/vulcand/backends/b1/servers/s1", SERVER),
        (
            "/vulcand/backends/b1/backend",
            r#"{"Type":"http","Settings":{"Timeouts":{"Read":"2s","TLSHandshake":"1s"}}}"#,
        ),
        ("/vulcand/backends/b10/servers/s1", r#"{"URL":"http://127.0.0.1:6000"}"#),
    ])
    .translate();
    assert!(translation.problems.is_empty(), "{:?}", translation.problems);
    let [route] = translation.routes.as_slice() else { panic!("one route") };
    assert_eq!(route.id, "f1@vulcand");
    assert_eq!(route.servers.len(), 1, "the servers of b10 are not those of b1");
    assert_eq!(route.servers[0].url.as_str(), "http://127.0.0.1:5000");
    let seconds = std::time::Duration::from_secs;
    assert_eq!((route.head_timeout, route.handshake_timeout), (Some(seconds(2)), Some(seconds(1))));
    assert!(!route.pass_host_header);
}

#[test]
fn a_server_of_a_backend_is_translated_once_for_all_of_its_frontends() {
    let mut state = state(&[("/vulcand/backends/b1/backend", BACKEND), ("/vulcand/backends/b1/servers/s1", SERVER)]);
    for number in 0..100 {
        state.put(format!("/vulcand/frontends/f{number}/frontend").as_bytes(), FRONTEND.as_bytes());
    }
    let before = state.translate().routes;
    assert_eq!(before.len(), 100);
    state.put(b"/vulcand/backends/b1/servers/s2", br#"{"URL":"http://127.0.0.1:5001"}"#);
    assert_eq!(state.take_changes().routes.len(), 100);
    let after: Vec<_> = state.routes().cloned().collect();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(after.servers.len(), 2);
        assert!(std::ptr::eq(&*after.servers, &*state.routes().next().unwrap().servers), "one list");
        assert!(Arc::ptr_eq(&before.expression, &after.expression), "nothing is parsed again");
    }
    state.put(b"/vulcand/backends/b1/servers/s2", br#"{"URL": "http://127.0.0.1:5001"}"#);
    assert!(state.take_changes().routes.is_empty(), "the same server in other words");
    state.delete(b"/vulcand/backends/b1/servers/s2");
    assert_eq!(state.take_changes().routes.len(), 100);
}

#[test]
fn a_frontend_rebalances_and_keeps_bodies_when_it_asks_for_it() {
    let balance = |settings: &str| {
        let frontend = format!(r#"{{"Type":"http","BackendId":"b1","Route":"Host(`a`)","Settings":{settings}}}"#);
        let mut state =
            state(&[("/vulcand/frontends/f1/frontend", &frontend), ("/vulcand/backends/b1/backend", BACKEND)]);
        state.translate().routes[0].balance.spec().clone()
    };
    assert!(balance("{}").rebalance && balance("{}").buffer.is_none());
    let kept = |settings| balance(settings).buffer.map(|buffer| buffer.memory_bytes);
    assert_eq!(kept(r#"{"Limits":{"MaxMemBodyBytes":4096}}"#), Some(4096));
    assert_eq!(kept(r#"{"Limits":{"MaxMemBodyBytes":4096},"Stream":true}"#), None);
    assert_eq!(kept(r#"{"Limits":{"MaxMemBodyBytes":-1}}"#), None);
    assert_eq!(kept(r#"{"Limits":{"MaxMemBodyBytes":9000000000}}"#), Some(64 << 20));
}

#[test]
fn a_frontend_is_reached_by_its_aliases_too() {
    let aliases = ["Host(`a`)=Host(`b`)", "Host(`c`)=Host("].map(|text| text.parse().unwrap());
    let mut state = State::with_aliases(aliases.to_vec());
    let broken = FRONTEND.replace("`a`", "`c`");
    state.put(b"/vulcand/backends/b1/backend", BACKEND.as_bytes());
    state.put(b"/vulcand/frontends/f1/frontend", FRONTEND.as_bytes());
    state.put(b"/vulcand/frontends/f2/frontend", broken.as_bytes());
    let translation = state.translate();
    let rules: Vec<_> = translation.routes.iter().map(|route| route.expression.as_str()).collect();
    assert_eq!(rules, ["Host(`a`) || Host(`b`)", "Host(`c`)"]);
    assert!(messages(&translation)[0].contains("without its aliases"), "{:?}", translation.problems);
}

#[test]
fn both_prefixes_count_and_are_kept_apart() {
    let bare = [("vulcand/frontends/f1/frontend", FRONTEND), ("vulcand/backends/b1/servers/s1", SERVER)];
    assert_eq!(state(&bare).translate().routes[0].servers.len(), 1);
    let mut both = state(&bare);
    both.put(b"/vulcand/frontends/f1/frontend", FRONTEND.as_bytes());
    let translation = both.translate();
    assert_eq!(translation.routes.len(), 1);
    assert!(translation.routes[0].servers.is_empty(), "the backend is under the other prefix");
    assert_eq!(translation.problems.len(), 2);
}

#[test]
fn an_invalid_value_is_reported_and_the_last_good_one_serves_on() {
    let mut state = state(&[("/vulcand/frontends/f1/frontend", FRONTEND), ("/vulcand/backends/b1/backend", BACKEND)]);
    state.put(b"/vulcand/frontends/f1/frontend", b"{");
    let translation = state.translate();
    assert_eq!(translation.routes[0].expression.as_str(), "Host(`a`)");
    assert!(messages(&translation)[0].contains("last good value serves on"));
    // A complete reading keeps it too, while the key is there.
    state.replace(crate::PREFIX, [(&b"/vulcand/frontends/f1/frontend"[..], &b"{"[..])]);
    assert_eq!(state.translate().routes.len(), 1);
    state.replace(crate::BARE_PREFIX, []);
    assert!(!state.is_empty(), "the other prefix is another matter");
    state.replace(crate::PREFIX, []);
    assert!(state.is_empty());
}

#[test]
fn an_unknown_backend_is_reported() {
    let translation = state(&[("/vulcand/frontends/f1/frontend", FRONTEND)]).translate();
    assert_eq!(messages(&translation), ["there is no backend \"b1\""]);
    assert!(translation.routes[0].servers.is_empty());
}

#[test]
fn a_frontends_middlewares_are_those_of_its_keys() {
    let limit = |requests: u32| {
        format!(
            r#"{{"id":"other","priority":2,"Type":"ratelimit",
            "Middleware":{{"PeriodSeconds":1,"Requests":{requests},"Variable":"client.ip"}}}}"#
        )
    };
    let mut state = state(&[
        ("/vulcand/frontends/f1/frontend", FRONTEND),
        ("/vulcand/frontends/f1/middlewares/rl1", &limit(1)),
        ("/vulcand/frontends/f10/middlewares/rl1", &limit(9)),
    ]);
    let route = state.translate().routes[0].clone();
    assert_eq!((route.middlewares.len(), &route.service), (1, &Service::Serve));
    let first = &route.middlewares[0];
    assert_eq!(
        (&first["Id"], &first["Priority"], &first["Middleware"]["Requests"]),
        (&"rl1".into(), &2.into(), &1.into())
    );

    state.put(b"/vulcand/frontends/f1/middlewares/rl1", limit(0).as_bytes());
    let translation = state.translate();
    assert_eq!(translation.routes[0].middlewares, route.middlewares);
    let expected = |message: &&str| message.contains("Requests") && message.contains("the last good value serves on");
    assert!(messages(&translation).iter().any(expected), "{:?}", translation.problems);
    state.delete(b"/vulcand/frontends/f1/middlewares/rl1");
    assert!(state.translate().routes[0].middlewares.is_empty());
}

#[test]
fn a_frontend_whose_middleware_cannot_be_read_refuses_rather_than_serve_unprotected() {
    for value in [r#"{"Type":"ratelimit","Middleware":{"Requests":1}}"#, "not JSON"] {
        let translation = state(&[
            ("/vulcand/frontends/f1/frontend", FRONTEND),
            ("/vulcand/backends/b1/servers/s1", SERVER),
            ("/vulcand/frontends/f1/middlewares/rl1", value),
        ])
        .translate();
        assert!(matches!(translation.routes[0].service, Service::Refuse(_)), "{value}");
        assert!(messages(&translation).iter().any(|message| message.contains("refused with 503")));
    }
    let orphan = state(&[("/vulcand/frontends/f9/middlewares/rl1", r#"{"Type":"compress"}"#)]).translate();
    assert_eq!(messages(&orphan), ["there is no frontend \"f9\""]);
}

#[test]
fn deleting_f1_never_touches_f10() {
    let mut state =
        state(&[("/vulcand/frontends/f1/frontend", FRONTEND), ("/vulcand/frontends/f10/frontend", FRONTEND)]);
    state.delete(b"/vulcand/frontends/f1/frontend");
    let routes = state.translate().routes;
    assert_eq!(routes.iter().map(|route| route.id.as_str()).collect::<Vec<_>>(), ["f10@vulcand"]);
}

#[test]
fn listeners() {
    let value = r#"{"Protocol":"http","Address":{"Network":"tcp","Address":"localhost:8183"},"Scope":"Host(`a`)"}"#;
    let translation = state(&[("/vulcand/listeners/ls1", value), ("/vulcand/listeners/ls2", "{}")]).translate();
    let expected = ListenerSpec {
        id: "ls1".into(),
        address: SocketAddr::from(([127, 0, 0, 1], 8183)),
        scope: "Host(`a`)".into(),
        tls: None,
        proxy: ProxyHeader::None,
    };
    assert_eq!(translation.listeners, [expected]);
    assert_eq!(translation.problems.len(), 1);
}

proptest! {
    #[test]
    fn no_keys_or_values_panic(
        keys in proptest::collection::vec(
            (
                proptest::sample::select(vec![
                    "/vulcand/frontends/f/frontend",
                    "/vulcand/frontends/f/middlewares/m",
                    "vulcand/backends/b1/backend",
                    "/vulcand/backends/b1/servers/s",
                    "/vulcand/listeners/l",
                    "/vulcand/hosts/h/host",
                    "/vulcand/else",
                ]),
                proptest::sample::select(vec![FRONTEND, BACKEND, SERVER, "{}", "null", "[", "\"\"", "7"]),
            ),
            0..12,
        )
    ) {
        let _translation = state(&keys).translate();
    }
}

#[test]
fn what_did_not_change_is_not_compiled_again() {
    let mut state =
        state(&[("/vulcand/frontends/f1/frontend", FRONTEND), ("/vulcand/frontends/f2/frontend", FRONTEND)]);
    let before = state.translate().routes;
    state.put(b"/vulcand/frontends/f2/frontend", FRONTEND.replace("`a`", "`b`").as_bytes());
    let after = state.translate().routes;
    assert!(Arc::ptr_eq(&before[0], &after[0]));
    assert_eq!(after[1].expression.as_str(), "Host(`b`)");
}

#[test]
fn a_change_translates_what_it_concerns_and_nothing_else() {
    let other = FRONTEND.replace("b1", "b2");
    let mut state = state(&[
        ("/vulcand/backends/b1/backend", BACKEND),
        ("/vulcand/backends/b2/backend", BACKEND),
        ("/vulcand/frontends/f1/frontend", FRONTEND),
        ("/vulcand/frontends/f10/frontend", FRONTEND),
        ("/vulcand/frontends/f2/frontend", &other),
    ]);
    let changed = |state: &mut State| -> Vec<String> {
        state.take_changes().routes.into_iter().map(|(id, route)| format!("{id} {}", route.is_some())).collect()
    };
    assert_eq!(changed(&mut state).len(), 3);
    state.put(b"/vulcand/backends/b1/servers/s1", SERVER.as_bytes());
    assert_eq!(changed(&mut state), ["f1@vulcand true", "f10@vulcand true"]);
    state.put(b"/vulcand/backends/b1/servers/s1", SERVER.as_bytes());
    state.put(b"/vulcand/backends/b2/backend", br#"{"Type": "http"}"#);
    assert!(changed(&mut state).is_empty(), "nothing became another");
    state.put(b"/vulcand/frontends/f10/frontend", other.as_bytes());
    assert_eq!(changed(&mut state), ["f10@vulcand true"]);
    state.delete(b"/vulcand/backends/b1/servers/s1");
    assert_eq!(changed(&mut state), ["f1@vulcand true"]);
    state.delete(b"/vulcand/frontends/f1/frontend");
    assert_eq!(changed(&mut state), ["f1@vulcand false"]);
    assert!(state.keys.frontends_of(Prefix::Slash, "b1").next().is_none());
}

/// Keys that have to do with each other, under both prefixes.
fn any_key() -> impl Strategy<Value = String> {
    let names = vec![
        "frontends/f1/frontend",
        "frontends/f10/frontend",
        "frontends/f1/middlewares/m",
        "backends/b1/backend",
        "backends/b2",
        "backends/b1/servers/s",
        "backends/b2/servers/s",
        "listeners/l",
        "hosts/h/host",
    ];
    (proptest::bool::ANY, proptest::sample::select(names))
        .prop_map(|(slash, name)| format!("{}{name}", if slash { crate::PREFIX } else { crate::BARE_PREFIX }))
}

fn any_value() -> impl Strategy<Value = &'static str> {
    const LISTENER: &str = r#"{"Protocol":"http","Address":{"Network":"tcp","Address":"localhost:8183"}}"#;
    const OTHER: &str = r#"{"Type":"http","BackendId":"b2","Route":"Host(`b`)"}"#;
    proptest::sample::select(vec![FRONTEND, OTHER, BACKEND, SERVER, LISTENER, r#"{"Type":"trace"}"#, "{"])
}

proptest! {
    /// However often changes are taken in between, the end is the same; and what was told as changed adds up to it.
    #[test]
    fn translating_step_by_step_ends_where_translating_once_does(
        steps in proptest::collection::vec((any_key(), proptest::option::weighted(0.8, any_value()), any::<bool>()), 0..40)
    ) {
        let (mut stepwise, mut at_once) = (State::default(), State::default());
        let mut told = BTreeMap::new();
        let mut tell = |changes: Changes| {
            for (id, route) in changes.routes {
                match route {
                    Some(route) => drop(told.insert(id, route.spec())),
                    None => drop(told.remove(&id)),
                }
            }
            told.clone()
        };
        for (key, value, is_taken) in steps {
            for state in [&mut stepwise, &mut at_once] {
                match value {
                    Some(value) => state.put(key.as_bytes(), value.as_bytes()),
                    None => state.delete(key.as_bytes()),
                }
            }
            if is_taken {
                tell(stepwise.take_changes());
            }
        }
        let told = tell(stepwise.take_changes());
        let (stepwise, at_once) = (stepwise.translate(), at_once.translate());
        let specs = |routes: &[Arc<Route>]| routes.iter().map(|route| (route.id.clone(), route.spec())).collect();
        let (known, expected): (BTreeMap<_, _>, BTreeMap<_, _>) = (specs(&stepwise.routes), specs(&at_once.routes));
        prop_assert_eq!(&known, &expected);
        prop_assert_eq!(&told, &expected);
        prop_assert_eq!(&stepwise.listeners, &at_once.listeners);
        prop_assert_eq!(&stepwise.problems, &at_once.problems);
    }
}
