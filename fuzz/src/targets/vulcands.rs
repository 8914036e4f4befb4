//! vulcand's keys and their values: lines of `key value`.

use routing::Route;
use std::collections::BTreeMap;
use std::sync::Arc;
use vulcand::{Alias, Key, State};

pub const WORDS: &[&str] = crate::json_words![
    "/vulcand/",
    "vulcand/",
    "/vulcand/backends/b1/backend {\"Type\":\"http\"}\n",
    "/vulcand/backends/b1/servers/s1 {\"URL\":\"http://127.0.0.1:1\"}\n",
    "/vulcand/frontends/f1/frontend {\"Type\":\"http\",\"BackendId\":\"b1\",\"Route\":\"Host(`a`)\"}\n",
    "/vulcand/frontends/f1/middlewares/m1 {\"Type\":\"ratelimit\",\"Middleware\":{\"PeriodSeconds\":1,\"Requests\":1,\"Burst\":3,\"Variable\":\"client.ip\"}}\n",
    "/vulcand/listeners/l1 {\"Protocol\":\"http\",\"Address\":{\"Network\":\"tcp\",\"Address\":\"127.0.0.1:81\"}}\n",
    "/vulcand/hosts/a.example/host {\"Settings\":{\"Default\":true,\"KeyPair\":\"\"}}\n",
    "\"Settings\":{",
    "\"Timeouts\":{\"Read\":\"1s\",\"Dial\":\"50ms\"}",
    "\"Limits\":{\"MaxBodyBytes\":4,\"MaxMemBodyBytes\":1}",
    "\"FailoverPredicate\":\"Attempts() < 2\"",
    "\"Hostname\":\"h\"",
    "\"TrustForwardHeader\":true",
    "\"PassHostHeader\":true",
    "\"Stream\":true",
    "\"KeepAlive\":{\"Period\":\"4s\"}",
    "\"TLS\":{}",
    "\"Scope\":\"Host(`a`)\"",
    "\"ProxyProtocol\":\"PROXY_V1\"",
    "\"type\":\"HTTP\"",
    "\n",
    " ",
    "/",
    "b2",
    "f10",
    "1.5h",
    "-1s",
    "é",
];

pub fn state(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut pairs: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
        pairs.insert(key, value);
        if let Some(read) = Key::parse(key.as_bytes()) {
            assert_eq!(Key::parse(read.to_string().as_bytes()), Some(read), "{key:?} reads as another key");
        }
        let _either = key.parse::<Alias>();
    }
    // Of one key under two names the last counts.
    let mut known = std::collections::BTreeSet::new();
    pairs.retain(|key, _| Key::parse(key.as_bytes()).is_none_or(|key| known.insert(key)));

    let mut forwards = State::default();
    pairs.iter().for_each(|(key, value)| forwards.put(key.as_bytes(), value.as_bytes()));
    forwards.take_changes();
    let mut backwards = State::default();
    for (key, value) in pairs.iter().rev() {
        backwards.put(key.as_bytes(), value.as_bytes());
        backwards.take_changes();
    }
    assert_eq!(shown(&forwards), shown(&backwards), "the order of writing counts");

    pairs.iter().for_each(|(key, value)| forwards.put(key.as_bytes(), value.as_bytes()));
    let changes = forwards.take_changes();
    assert!(
        changes.routes.is_empty() && !changes.listeners && !changes.hosts && !changes.problems,
        "nothing was changed: {changes:?}"
    );

    pairs.keys().for_each(|key| forwards.delete(key.as_bytes()));
    forwards.take_changes();
    let left = (forwards.routes().count(), forwards.listeners().count(), forwards.hosts().count());
    assert_eq!((left, forwards.problems().count()), ((0, 0, 0), 0));
    assert!(forwards.is_empty());
}

/// All that a state amounts to.
fn shown(state: &State) -> (Vec<String>, String, String) {
    let route = |route: &Arc<Route>| format!("{:?}", route.spec());
    let routes = state.routes().map(route).collect();
    let outside: (Vec<_>, Vec<_>) = (state.listeners().collect(), state.hosts().collect());
    let problems: Vec<_> = state.problems().collect();
    (routes, format!("{outside:?}"), format!("{problems:?}"))
}
