use super::*;
use crate::count::Took;
use http1::{Limits, Parsed, Storage};
use proptest::prelude::*;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

const LIMITS: Limits = Limits { head_bytes_max: 64 * 1024, headers_max: 64 };

fn ended<'a>(request: Told<'a>) -> Ended<'a> {
    Ended {
        request,
        client: "10.0.0.1",
        is_secure: false,
        is_http2: false,
        status: 200,
        request_bytes: 0,
        response_bytes: 5,
        begun: Instant::now(),
        took: Took { head: Duration::from_micros(40), whole: Duration::from_micros(1234) },
        route: None,
        server: Some("http://10.0.0.2:80"),
        attempts: 2,
        trail: None,
    }
}

type Write = fn(&mut Vec<u8>, &Ended<'_>, SystemTime, &Redaction);

/// The line of a request, or of what is none.
fn line(head: &[u8], write: Write) -> String {
    let begun = SystemTime::UNIX_EPOCH + Duration::from_micros(1_767_323_045_000_006);
    let (mut storage, mut out) = (Storage::new(), Vec::new());
    let told = match Request::parse(head, &mut storage, &LIMITS) {
        Ok(Parsed::Complete(request)) => {
            write(&mut out, &ended(Told::Request(&request)), begun, &Redaction::default());
            return String::from_utf8(out).unwrap();
        }
        _ => Told::Nonsense(head),
    };
    write(&mut out, &ended(told), begun, &Redaction::default());
    String::from_utf8(out).unwrap()
}

#[test]
fn a_request_is_an_object() {
    let head = b"GET /a?token=x HTTP/1.1\r\nHost: a.example\r\nUser-Agent: \"curl\"\\\r\nReferer: http://b/?sig=1\r\n\
                 Authorization: Basic eDp5\r\nCookie: c=d\r\n\r\n";
    let expected = concat!(
        r#"{"time":"2026-01-02T03:04:05.000006Z","client":"10.0.0.1","method":"GET","scheme":"http","#,
        r#""host":"a.example","target":"/a?token=REDACTED","protocol":"HTTP/1.1","status":200,"request_bytes":0,"#,
        r#""response_bytes":5,"head_us":40,"duration_us":1234,"server":"http://10.0.0.2:80","attempts":2,"#,
        r#""user_agent":"\"curl\"\\","referer":"http://b/?sig=REDACTED"}"#,
        "\n"
    );
    assert_eq!(line(head, json), expected);
}

#[test]
fn combined_is_apaches() {
    let head = b"GET /a HTTP/1.0\r\nHost: a\r\nUser-Agent: \"curl\"\\\xff\r\nReferer: http://b/\r\n\r\n";
    let expected = concat!(
        r#"10.0.0.1 - - [02/Jan/2026:03:04:05 +0000] "GET /a HTTP/1.0" 200 5 "http://b/" "\"curl\"\\"#,
        r#"\xef\xbf\xbd""#,
        "\n"
    );
    assert_eq!(line(head, combined), expected);
    let bare = line(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", combined);
    assert!(bare.ends_with("\"GET / HTTP/1.1\" 200 5 \"-\" \"-\"\n"), "{bare}");
}

#[test]
fn what_is_too_long_is_cut() {
    let head = format!("GET /{} HTTP/1.1\r\nHost: a\r\nUser-Agent: {}\r\n\r\n", "x".repeat(30_000), "ä".repeat(5_000));
    let text = line(head.as_bytes(), json);
    assert!(text.len() < TARGET_BYTES_MAX + 4 * FIELD_BYTES_MAX, "{}", text.len());
    assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
}

fn is_one_line(text: &str) -> bool {
    text.ends_with('\n')
        && !text[..text.len() - 1].contains(|c: char| c.is_control() || c == '\u{2028}' || c == '\u{85}')
}

proptest! {
    #[test]
    fn whatever_is_sent_is_one_line(target in "/[!-~]{0,50}", value in prop::collection::vec(any::<u8>(), 0..50)) {
        let value: Vec<u8> = value.into_iter().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)).collect();
        let mut head = format!("GET {target} HTTP/1.1\r\nHost: a\r\nUser-Agent: a").into_bytes();
        head.extend(&value);
        head.extend(b"\r\n\r\n");
        let text = line(&head, json);
        prop_assert!(is_one_line(&text) && serde_json::from_str::<Value>(&text).is_ok(), "{text}");
        prop_assert!(is_one_line(&line(&head, combined)));
    }

    #[test]
    fn nonsense_is_one_line_too(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = line(&bytes, json);
        prop_assert!(is_one_line(&text) && serde_json::from_str::<Value>(&text).is_ok(), "{text}");
        prop_assert!(is_one_line(&line(&bytes, combined)));
    }
}
