use super::*;

const LIMITS: Limits = Limits { head_bytes_max: 64 * 1024, headers_max: 256 };

#[test]
fn a_websocket_is_asked_for_where_the_server_takes_them() {
    let text = "GET /chat HTTP/1.1\r\nhost: a\r\norigin: https://a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                sec-websocket-key: key\r\n\r\n";
    let asked = read(text.as_bytes(), &LIMITS, Scheme::HTTPS, true).unwrap().unwrap();
    assert_eq!((asked.request.method(), asked.upgrade.as_deref()), (&Method::CONNECT, Some(&b"key"[..])));
    assert_eq!(asked.request.headers().len(), 1);
    let plain = read(text.as_bytes(), &LIMITS, Scheme::HTTP, false).unwrap().unwrap();
    assert_eq!((plain.request.method(), plain.upgrade), (&Method::GET, None));
}

#[test]
fn a_part_of_a_head_is_waited_for() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody";
    for end in 0..head.len() - 4 {
        assert!(read(&head[..end], &LIMITS, Scheme::HTTP, false).unwrap().is_none());
    }
    assert_eq!(read(head, &LIMITS, Scheme::HTTP, false).unwrap().unwrap().head_bytes, head.len() - 4);
}
