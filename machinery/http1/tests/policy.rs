//! The policy of the crate's documentation, line by line: each ambiguous message and what answers it.

mod support;

use http1::{Asked, BadResponse, Framing, Parsed, Response, Storage};
use support::{End, LIMITS, corpus, read, responses};

#[test]
fn each_ambiguous_request_is_refused_with_its_status_and_each_clear_one_is_read() {
    let mut wrong = Vec::new();
    for case in corpus::cases() {
        let reading = read(&case.bytes);
        let right = match case.status {
            0 => reading.end == End::Clean && reading.messages.len() == 1,
            status => reading.end == End::Refused(status) && reading.messages.is_empty(),
        };
        if !right {
            wrong.push(format!("{}: expected {}, got {reading:?}", case.what, case.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_refusal_does_not_depend_on_the_pieces_in_which_a_request_comes() {
    for case in corpus::cases() {
        let whole = read(&case.bytes);
        let mut split = End::Partial;
        // Of long ones not every length.
        for length in
            (1..=case.bytes.len()).filter(|length| *length < 500 || length % 99 == 0 || *length == case.bytes.len())
        {
            let reading = read(&case.bytes[..length]);
            if reading.end != End::Partial {
                split = reading.end;
                break;
            }
        }
        assert_eq!(split, whole.end, "{}", case.what);
    }
}

fn parse(bytes: &[u8], asked: Asked) -> Result<(Framing, bool), BadResponse> {
    let mut storage = Storage::new();
    match Response::parse(bytes, &mut storage, &LIMITS, asked)? {
        Parsed::Complete(response) => Ok((response.framing, response.keep_alive)),
        Parsed::Partial => panic!("partial: {}", String::from_utf8_lossy(bytes)),
    }
}

#[test]
fn each_clear_response_is_framed_in_one_way() {
    for case in responses::clear() {
        let read = parse(&case.bytes, case.asked);
        assert_eq!(read, Ok((case.framing, case.keep_alive)), "{}", String::from_utf8_lossy(&case.bytes));
    }
}

#[test]
fn each_ambiguous_response_is_refused() {
    for (what, bytes) in responses::ambiguous() {
        assert!(parse(&bytes, Asked::default()).is_err(), "{what}");
    }
    let asked = Asked { head: false, upgrade: true };
    let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    assert_eq!(parse(switched.as_bytes(), asked), Ok((Framing::None, false)));
    assert_eq!(parse(switched.replace("1.1 101", "1.0 101").as_bytes(), asked), Err(BadResponse::Unasked));
}
