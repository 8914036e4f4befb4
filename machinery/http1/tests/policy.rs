//! The policy of the crate's documentation, line by line: each ambiguous message and what answers it.

mod support;

use http1::{Asked, BadResponse, Framing, Parsed, Response, Storage};
use support::{End, LIMITS, corpus, read};

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

fn response(text: &str, asked: Asked) -> Result<(Framing, bool), BadResponse> {
    let mut storage = Storage::new();
    match Response::parse(text.as_bytes(), &mut storage, &LIMITS, asked)? {
        Parsed::Complete(response) => Ok((response.framing, response.keep_alive)),
        Parsed::Partial => panic!("partial: {text}"),
    }
}

#[test]
fn each_response_is_framed_in_one_way() {
    use Framing::{Chunked, Length, None, UntilClose};
    let (get, head) = (Asked::default(), Asked { head: true, upgrade: false });
    let cases = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", get, Length(5), true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", get, None, true),
        ("HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n", get, Length(5), true),
        ("HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\n", get, Length(5), true),
        ("HTTP/1.1 200 Schön\r\nContent-Length: 5\r\n\r\n", get, Length(5), true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", get, Chunked, true),
        ("HTTP/1.1 200 OK\r\n\r\n", get, UntilClose, false),
        ("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n", get, UntilClose, false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x, Close\r\n\r\n", get, Length(5), false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", get, Length(5), false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive\r\n\r\n", get, Length(5), true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", head, None, true),
        ("HTTP/1.1 200 OK\r\n\r\n", head, None, true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", head, None, true),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", get, None, true),
        ("HTTP/1.1 204 No Content\r\n\r\n", get, None, true),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", get, None, true),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", get, None, false),
        ("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", get, None, false),
        ("HTTP/1.1 100 Continue\r\n\r\n", get, None, true),
        ("HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n", get, None, false),
        ("HTTP/1.1 999 Odd\r\nContent-Length: 5\r\n\r\n", get, Length(5), true),
    ];
    for (text, asked, framing, keep_alive) in cases {
        assert_eq!(response(text, asked), Ok((framing, keep_alive)), "{text}");
    }
}

#[test]
fn each_ambiguous_response_is_refused() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let lines = [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "X: b\n",
        "X: b \nY: c\r\n",
        "X: b\rc\r\n",
        "X: b\0\r\n",
        "X : b\r\n",
        " X: b\r\n",
        "X: b\r\n c\r\n",
        ": b\r\n",
        "X\r\n",
    ];
    let mut texts: Vec<String> = lines.iter().map(|lines| format!("{ok}{lines}\r\n")).collect();
    texts.extend(
        [
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\n\r\n",
            "HTTP/1.1 200\n\r\n",
            "HTTP/1.1 200 OK\r\n\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1 099 Low\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 -20 OK\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "http/1.1 200 OK\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ]
        .map(str::to_owned),
    );
    texts.push(format!("{ok}{}\r\n", "X: b\r\n".repeat(17)));
    texts.push(format!("{ok}X: {}\r\n\r\n", "b".repeat(4096)));
    for text in texts {
        assert!(response(&text, Asked::default()).is_err(), "{text}");
    }
    let asked = Asked { head: false, upgrade: true };
    let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    assert_eq!(response(switched, asked), Ok((Framing::None, false)));
    assert_eq!(response(&switched.replace("1.1 101", "1.0 101"), asked), Err(BadResponse::Unasked));
}
