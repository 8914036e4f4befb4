//! Roadstead's own route documents, and the URLs in them.

use crate::json::read;
use middleware::Chain;
use routing::document::RouteDocument;
use routing::{Route, RouteSpec, ServerUrl};

pub const WORDS: &[&str] = crate::json_words![
    "0",
    "-1",
    "1.5",
    "\"v\":0",
    "\"rule\":\"Host(`a`)\"",
    "\"priority\":7",
    "\"servers\":[]",
    "{\"id\":\"s\",\"url\":\"http://127.0.0.1:1\"}",
    "\"weight\":3",
    "\"pass_host_header\":true",
    "\"failover_predicate\":\"Attempts() < 3\"",
    "\"app\":\"/a\"",
    "\"balance\":{",
    "\"policy\":\"hash\"",
    "\"policy\":\"two_choices\"",
    "\"hash_on\":\"header:X-A\"",
    "\"hash_on\":\"client_ip\"",
    "\"load_percent_max\":125",
    "\"sticky\":{\"cookie\":\"c\"}",
    "\"slow_start_seconds\":30",
    "\"rebalance\":true",
    "\"ejection\":{}",
    "\"canary\":{\"percent\":5,\"servers\":[]}",
    "\"middlewares\":[{\"Id\":\"m\",\"Type\":\"connlimit\",\"Middleware\":{\"Connections\":1,\"Variable\":\"client.ip\"}}]",
    "\\\"",
    "é",
    " ",
    "\n",
    "18446744073709551616",
];

pub const URL_WORDS: &[&str] = &[
    "http://",
    "https://",
    "h2://",
    "h2c://",
    "a.example",
    "127.0.0.1",
    "[::1]",
    ":80",
    ":",
    "/",
    "@",
    "?",
    "#",
    "%",
    "[",
    "]",
    "-",
    "_",
    " ",
];

pub fn route(bytes: &[u8]) {
    let Some(document) = read::<RouteDocument>(bytes) else { return };
    let _either = Chain::read(&document.middlewares, None);
    let Ok(spec) = RouteSpec::of_document("r", document) else { return };
    let Ok(route) = Route::compile(spec) else { return };
    let spec = route.spec();
    let again = Route::compile(spec.clone()).unwrap_or_else(|error| panic!("{spec:?}: {error}"));
    assert_eq!(again.spec(), spec);
    assert_eq!(again.servers, route.servers);
    // A kept table has it so.
    let text = serde_json::to_vec(&spec).expect("a spec is JSON");
    assert_eq!(serde_json::from_slice::<RouteSpec>(&text).expect("it was written"), spec);
}

pub fn server_url(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(url) = ServerUrl::parse(&text) else { return };
    let again = ServerUrl::parse(url.as_str()).unwrap_or_else(|error| panic!("{}: {error}", url.as_str()));
    assert_eq!(
        (again.as_str(), again.authority(), again.host(), again.port()),
        (url.as_str(), url.authority(), url.host(), url.port())
    );
    assert!(url.authority().bytes().all(|byte| byte.is_ascii_graphic()), "it is written into heads");
}
