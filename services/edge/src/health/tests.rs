use super::ask::{ask_http2, status};
use super::*;
use crate::limits::HEALTH_ANSWER_BYTES_MAX;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn check(url: &str) -> Check {
    Check { url: ServerUrl::parse(url).unwrap(), spec: HealthSpec::default(), send_proxy: None }
}

#[test]
fn one_check_has_one_verdict_whoever_asks() {
    let (checks, check) = (Checks::default(), check("http://a:1"));
    let verdict = checks.verdict(check.clone()).unwrap();
    assert!(Arc::ptr_eq(&verdict, &checks.verdict(check.clone()).unwrap()));
    let other = HealthSpec { path: "/other".into(), ..HealthSpec::default() };
    let others = [Check { spec: other, ..check.clone() }, Check { send_proxy: Some(SendProxy::V1), ..check }]
        .map(|other| checks.verdict(other));
    assert!(others.iter().flatten().all(|other| !Arc::ptr_eq(&verdict, other)));
    assert!(verdict.observe(Err(Bad::Status(500))) && verdict.is_down());
    assert_eq!(verdict.text(), "down for 0 s: it answered 500");
    assert!(!verdict.observe(Ok(())) && verdict.observe(Ok(())) && !verdict.is_down());
    assert_eq!(verdict.text(), "up");
}

#[test]
fn checks_are_bounded_and_what_nobody_wants_makes_room() {
    let checks = Checks::default();
    let of = |port: usize| checks.verdict(check(&format!("http://a:{port}")));
    let mut held: Vec<_> = (1..=HEALTH_CHECKS_MAX).map(|port| of(port).unwrap()).collect();
    assert!(of(HEALTH_CHECKS_MAX + 1).is_none());
    held.pop();
    assert!(of(HEALTH_CHECKS_MAX + 1).is_some());
}

/// Says this once the request's head has come, and its end in the same moment.
async fn ask_one_that_says(answer: Vec<u8>) -> Result<u16, Bad> {
    const PREFACE_BYTES: usize = 24;
    const FRAME_HEAD_BYTES: usize = 9;
    const HEADERS: u8 = 1;
    let (edges, mut servers) = tokio::io::duplex(4096);
    let server = tokio::spawn(async move {
        servers.read_exact(&mut [0; PREFACE_BYTES]).await.unwrap();
        loop {
            let mut head = [0; FRAME_HEAD_BYTES];
            servers.read_exact(&mut head).await.unwrap();
            servers.read_exact(&mut vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))]).await.unwrap();
            if head[3] == HEADERS {
                break;
            }
        }
        servers.write_all(&answer).await.unwrap();
        servers.shutdown().await.unwrap();
        servers
    });
    let status = ask_http2(edges, "http://a/").await;
    drop(server.await);
    status
}

/// Settings, and a head with `:status: 200` that is all.
#[tokio::test]
async fn a_server_of_http2_that_answers_and_closes_at_once_has_answered() {
    let answer = b"\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x05\0\0\0\x01\x88";
    for _ in 0..100 {
        let status = ask_one_that_says(answer.to_vec()).await;
        assert!(matches!(status, Ok(200)), "{status:?}");
    }
    assert!(matches!(ask_one_that_says(answer[..9].to_vec()).await, Err(Bad::Broken(_))), "no answer is none");
}

/// One field of so many bytes, in frames of 16 KiB.
#[tokio::test]
async fn a_head_of_http2_is_bounded() {
    const FRAME_BYTES: usize = 16 * 1024;
    let fields = |bytes: usize| {
        let mut fields = b"\x88\x00\x01a".to_vec();
        let (mut rest, mut digits) = (bytes - 127, vec![127]);
        while rest >= 128 {
            digits.push((rest % 128 + 128) as u8);
            rest /= 128;
        }
        fields.extend(digits);
        fields.push(rest as u8);
        fields.resize(fields.len() + bytes, b'x');
        fields
    };
    let answer = |bytes: usize| {
        let fields = fields(bytes);
        let count = fields.len().div_ceil(FRAME_BYTES);
        let frame = |(number, part): (usize, &[u8])| {
            let (kind, end_stream) = if number == 0 { (1, 1) } else { (9, 0) };
            let end_headers = if number + 1 == count { 4 } else { 0 };
            let length = (part.len() as u32).to_be_bytes();
            [&length[1..], &[kind, end_stream | end_headers, 0, 0, 0, 1], part].concat()
        };
        let frames = fields.chunks(FRAME_BYTES).enumerate().flat_map(frame);
        b"\0\0\0\x04\0\0\0\0\0".iter().copied().chain(frames).collect()
    };
    assert!(matches!(ask_one_that_says(answer(HEALTH_ANSWER_BYTES_MAX / 2)).await, Ok(200)));
    let refused = ask_one_that_says(answer(2 * HEALTH_ANSWER_BYTES_MAX)).await;
    assert!(matches!(refused, Err(Bad::Broken(_))), "{refused:?}");
}

#[test]
fn interim_answers_are_passed_over() {
    let answer = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
    assert!(matches!(status(answer), Ok(Some(204))));
    assert!(matches!(status(&answer[..40]), Ok(None)));
    assert!(matches!(status(b"nonsense\r\n\r\n"), Err(Bad::Nonsense)));
}
