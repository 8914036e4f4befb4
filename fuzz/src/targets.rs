//! What is tried, and what each target looks for beside panics.
//!
//! | target | what holds of every input |
//! |---|---|
//! | `http1_request` | what is accepted is written so that it reads the same; a head's beginning is partial or refused as the whole is |
//! | `http1_response` | the same of responses |
//! | `http1_chunks` | the pieces in which bytes come change nothing; the data is a plain decoder's |
//! | `route_expression` | what an explanation says of an expression is an expression that says the same of the request |
//! | `route_table` | the winner matches, and wins against each other that does; made at once or step by step, a table is the same |
//! | `failover_predicate` | parentheses, and what is always true beside it, change nothing |
//! | `breaker_condition` | the same; a breaker with it lives through any responses |
//! | `route_document` | a route compiles again from its spec, to the same |
//! | `middlewares` | what they answer and edit reads as it was meant: no line is split |
//! | `vulcand_state` | the order of keys changes nothing; what is deleted leaves nothing; a key reads as it was written |
//! | `proxy_header` | pieces change nothing; what is written of it is read the same |
//! | `client_hello` | what is said of a handshake's beginning holds for all of it, however it is cut into records |
//! | `http2_request` | a request of HTTP/2 is refused, or is exactly one request of HTTP/1 that says the same, also back in HTTP/2 |
//! | `http2_frames` | the pieces in which a client's frames come change nothing; what it is sent is whole frames |
//! | `certificate_document` | it is written as it was read; what was sealed is opened to the same or not at all, and is not shown |
//! | `ocsp_response` | what is believed was signed; what is not signed says no more, and nothing is believed when it is over |
//! | `token` | none passes unsigned, chooses its algorithm, or says what is not asked for; what it carries into heads splits no line |
//! | `controller_record` | it is written as it was read; a scheduler goes on with whatever could be read |
//! | `server_url` | a URL's text reads as the same URL |
//!
//! What else lies in the store is tried where it is read: `services/controller/src/tests/records.rs`.

mod arrivals;
mod certificates;
mod documents;
mod expressions;
mod http;
mod http2;
mod middlewares;
mod ocsp;
mod predicates;
mod records;
mod tokens;
mod vulcands;

/// One thing that reads bytes.
#[derive(Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    /// Panics when something does not hold.
    pub run: fn(&[u8]),
    /// Its language.
    pub words: &'static [&'static str],
    /// How long an input takes, in those of the quickest: a bounded run tries so many fewer.
    pub cost: u64,
}

/// All targets.
pub fn all() -> Vec<Target> {
    let target = |name, run, words, cost| Target { name, run, words, cost };
    vec![
        target("http1_request", http::request, http::WORDS, 1),
        target("http1_response", http::response, http::WORDS, 1),
        target("http1_chunks", http::chunks, http::CHUNK_WORDS, 1),
        target("route_expression", expressions::expression, expressions::WORDS, 4),
        target("route_table", expressions::table, expressions::WORDS, 10),
        target("failover_predicate", predicates::failover, predicates::FAILOVER_WORDS, 1),
        target("breaker_condition", predicates::breaker, predicates::BREAKER_WORDS, 2),
        target("route_document", documents::route, documents::WORDS, 2),
        target("middlewares", middlewares::chain, middlewares::WORDS, 2),
        target("vulcand_state", vulcands::state, vulcands::WORDS, 10),
        target("proxy_header", arrivals::proxy_header, arrivals::PROXY_WORDS, 1),
        target("client_hello", arrivals::client_hello, arrivals::HELLO_WORDS, 1),
        target("http2_request", http2::request, http2::WORDS, 2),
        target("http2_frames", http2::frames, http2::FRAME_WORDS, 4),
        target("certificate_document", certificates::document, certificates::WORDS, 2),
        target("ocsp_response", ocsp::response, ocsp::WORDS, 10),
        target("token", tokens::token, tokens::WORDS, 2),
        target("controller_record", records::controller, records::WORDS, 10),
        target("server_url", documents::server_url, documents::URL_WORDS, 1),
    ]
}

/// The input's first line says how the rest is tried; both may be missing.
fn first_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &[]),
    }
}
