//! How long a head takes, parsed and written: `cargo run --release -p http1 --example ns_per_head`.
//!
//! The least of many rounds, since everything that disturbs a round makes it longer.

use http1::{
    Asked, Body, ChunkHead, Connection, Forward, Forwarded, Framing, LAST_CHUNK, Limits, Parsed, Reply, Request,
    Response, Scheme, Storage,
};
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

const LIMITS: Limits = Limits { head_bytes_max: 64 * 1024, headers_max: 256 };
const ROUNDS: usize = 200;
const ROUND_ITERATIONS: u32 = 2000;

const SMALL: &str = "GET /api/items HTTP/1.1\r\nHost: bench.example\r\n\r\n";
const BROWSER: &str = "GET /shop/catalogue/items?page=2&sort=price HTTP/1.1\r\n\
    Host: www.shop.example\r\n\
    Connection: keep-alive\r\n\
    Cache-Control: max-age=0\r\n\
    sec-ch-ua: \"Chromium\";v=\"128\", \"Not;A=Brand\";v=\"24\"\r\n\
    sec-ch-ua-mobile: ?0\r\n\
    sec-ch-ua-platform: \"Linux\"\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-User: ?1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Referer: https://www.shop.example/shop/catalogue/items?page=1&sort=price\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Cookie: session=c3ZlbnNrYSBlbGxlciBlbmdlbHNrYQ; theme=dark; consent=yes; cart=3f2a9c7be4\r\n\
    If-None-Match: \"5e8f-1919a2c7d40\"\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nServer: app\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: application/json\r\n\
    Content-Length: 1234\r\nConnection: keep-alive\r\nCache-Control: no-store\r\nETag: \"5e8f\"\r\nVary: Accept-Encoding\r\n\r\n";

fn main() {
    for (name, text) in [("small request", SMALL), ("browser request", BROWSER)] {
        let bytes = text.as_bytes();
        let finding = least(|| find(bytes));
        let parse = least(|| request(bytes, |request| _ = black_box(request)));
        let mut out = Vec::with_capacity(4096);
        let both = least(|| {
            out.clear();
            request(bytes, |request| request.write(&mut out, &FORWARD));
            black_box(&out);
        });
        let length = bytes.len();
        println!(
            "{name:16} {length:5} bytes: httparse {finding:6.1} ns, parse {parse:6.1} ns, and write {both:6.1} ns"
        );
    }
    let bytes = ANSWER.as_bytes();
    let parse = least(|| response(bytes, |response| _ = black_box(response)));
    let mut out = Vec::with_capacity(4096);
    let both = least(|| {
        out.clear();
        response(bytes, |response| response.write(&mut out, &REPLY));
        black_box(&out);
    });
    println!("{:16} {:5} bytes: parse {parse:6.1} ns, and write {both:6.1} ns", "response", bytes.len());

    for size in [100, 16 * 1024] {
        let chunk = [ChunkHead::new(size).as_bytes(), &vec![b'x'; size], b"\r\n"].concat();
        let body = [chunk.repeat(4), LAST_CHUNK.to_vec()].concat();
        let all = least(|| {
            let mut decoder = Body::new(Framing::Chunked);
            black_box(decoder.advance(black_box(&body)).expect("the chunks are right"));
        });
        println!("chunks of {size:5} bytes: {:6.1} ns per chunk", all / 5.0);
    }
}

const FORWARD: Forward<'static> = Forward {
    authority: "10.0.0.1:5000",
    keeps_host: true,
    target: None,
    forwarded: Forwarded { trusted: false, client: "192.0.2.7", scheme: Scheme::Http, server: "edge-1" },
    framing: None,
    edits: &[],
};
const REPLY: Reply<'static> = Reply { connection: Connection::Stays, framing: None, date: None, edits: &[] };

/// What httparse takes of it.
fn find(bytes: &[u8]) {
    let mut room = [const { MaybeUninit::uninit() }; 256];
    let mut found = httparse::Request::new(&mut []);
    let status = found.parse_with_uninit_headers(black_box(bytes), &mut room);
    assert!(status.is_ok_and(|status| status.is_complete()));
    black_box(&found);
}

fn request(bytes: &[u8], then: impl FnOnce(Request<'_>)) {
    let mut storage = Storage::new();
    match Request::parse(black_box(bytes), &mut storage, &LIMITS) {
        Ok(Parsed::Complete(request)) => then(request),
        other => panic!("{other:?}"),
    }
}

fn response(bytes: &[u8], then: impl FnOnce(Response<'_>)) {
    let mut storage = Storage::new();
    match Response::parse(black_box(bytes), &mut storage, &LIMITS, Asked::default()) {
        Ok(Parsed::Complete(response)) => then(response),
        other => panic!("{other:?}"),
    }
}

/// Nanoseconds of one call, in the best round.
fn least(mut call: impl FnMut()) -> f64 {
    let round = |call: &mut dyn FnMut()| {
        let start = Instant::now();
        for _ in 0..ROUND_ITERATIONS {
            call();
        }
        start.elapsed()
    };
    let best = (0..ROUNDS).map(|_| round(&mut call)).min().unwrap_or(Duration::MAX);
    best.as_nanos() as f64 / f64::from(ROUND_ITERATIONS)
}
