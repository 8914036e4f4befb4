//! Middlewares: any settings, any request, and whatever others reply.
//!
//! The input's first lines are a request's target and headers; the rest is JSON: a list of middlewares.

use http1::{Answer as WrittenAnswer, Asked, Connection, Edit, Framing, Limits, Parsed, Storage, Target};
use middleware::{
    Answer, Authorization, Chain, Change, Decision, Finish, HeaderEdit, Headers, Now, Question, Reply, Request,
    Response,
};
use serde_json::Value;

const LIMITS: Limits = Limits { head_bytes_max: 256 * 1024, headers_max: 256 };
/// Middlewares may ask one after the other.
const QUESTIONS_MAX: usize = 200;

pub const WORDS: &[&str] = crate::json_words![
    "false",
    "0",
    "1",
    "\\r\\n",
    "$1",
    "${a}",
    "{{.Request}}",
    "\"Id\":\"m\"",
    "\"Type\":\"",
    "\"Middleware\":{",
    "ratelimit",
    "connlimit",
    "rewrite",
    "cbreaker",
    "trace",
    "auth",
    "basicauth",
    "forwardauth",
    "jwt",
    "iplist",
    "headers",
    "cors",
    "compress",
    "redirect",
    "bodylimit",
    "timeouts",
    "\"Priority\":1",
    "\"Variable\":\"client.ip\"",
    "\"Variable\":\"request.header.X-A\"",
    "\"RateVar\":\"request.header.X-Rates\"",
    "\"PeriodSeconds\":1",
    "\"Requests\":1",
    "\"Burst\":3",
    "\"Connections\":1",
    "\"Regexp\":\"^http://a/(.*)\"",
    "\"Replacement\":\"https://b/$1\"",
    "\"Redirect\":true",
    "\"Condition\":\"NetworkErrorRatio() > 0.5\"",
    "\"Fallback\":{\"Type\":\"redirect\",\"Action\":{\"URL\":\"http://b/\",\"PreservePath\":true}}",
    "\"Users\":[\"a:{PLAIN}b\"]",
    "\"Address\":\"http://b/\"",
    "\"Secret\":\"s\"",
    "\"Allow\":[\"10.0.0.0/8\"]",
    "\"Request\":{\"Set\":{\"X-A\":\"b\"}}",
    "\"Response\":{\"Remove\":[\"X-A\"]}",
    "\"AllowOrigins\":[\"*\"]",
    "\"1s\"",
    "1000000000",
    "authorization: Basic YTpi\n",
    "authorization: Bearer a.b.c\n",
    "origin: http://o\n",
    "accept-encoding: gzip, br\n",
    "x-rates: [{\"PeriodSeconds\":1,\"Requests\":2}]\n",
    "/a?b\n",
    "\n\n",
];

pub fn chain(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (head, settings) = text.split_once("\n\n").unwrap_or(("/", &text));
    let Ok(Value::Array(list)) = serde_json::from_str::<Value>(settings) else { return };
    let Ok(chain) = Chain::read(&list, None) else { return };
    // What has not changed keeps its state, and nothing is lost on the way.
    let again = Chain::read(&list, Some(&chain)).expect("it was read before");
    assert_eq!(again.middlewares().len(), list.len());

    let mut lines = head.lines();
    let target = lines.next().filter(|target| Target::new(target).is_some()).unwrap_or("/");
    let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).filter(is_header).collect();
    let headers = headers.as_slice();
    let request = Request {
        method: if headers.iter().any(|(name, _)| *name == "access-control-request-method") {
            "OPTIONS"
        } else {
            "GET"
        },
        target,
        ..get(&headers)
    };
    for number in 0..4 {
        let now = Now { nanos: number * 700_000_000, unix_seconds: 1_500_000_000 };
        let mut decision = chain.before(&request, now);
        for asked in 0..QUESTIONS_MAX {
            let Decision::Ask(asking) = decision else { break };
            let reply = reply(asking.question(), number as usize + asked, headers);
            decision = asking.resume(reply, &request, now);
        }
        match decision {
            Decision::Continue(mut passage) => {
                if let Some(target) = &passage.edits.target {
                    assert!(Target::new(target).is_some(), "no target: {target:?}");
                }
                written(&passage.edits.headers);
                let status = [200, 500, 304, 502][number as usize];
                let response = Response { status, headers: &headers, body_bytes: Some(1000), is_own: false };
                let edits = passage.response(&response, now);
                written(&edits.headers);
                let _effects = passage.finish(&Finish { request_body_bytes: 0, response_body_bytes: 9 }, now);
            }
            Decision::Answer(answer) => answered(&answer),
            Decision::Ask(_) => panic!("it asks without end"),
        }
    }
}

/// A GET of `/`, as the targets ask that are not about requests.
pub(super) fn get<'a>(headers: &'a dyn Headers) -> Request<'a> {
    Request {
        method: "GET",
        scheme: "http",
        host: "a",
        target: "/",
        client: [10, 0, 0, 9].into(),
        headers,
        body_bytes: Some(0),
        tls: None,
    }
}

/// As a head may have it.
fn is_header((name, value): &(&str, &str)) -> bool {
    Edit::add(name, value.as_bytes()).is_some() && value.trim() == *value
}

fn reply(question: &Question<'_>, number: usize, headers: &[(&str, &str)]) -> Reply {
    let status = [200, 204, 302, 401, 500, 99][number % 6];
    match question {
        Question::Password { .. } | Question::Signature { .. } => Reply::Verified(number.is_multiple_of(2)),
        Question::Authorize(_) if number % 5 == 4 => Reply::Failed,
        Question::Authorize(asked) => {
            assert!(asked.headers.iter().all(|(name, value)| is_line(name, value)), "{:?}", asked.headers);
            let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
            Reply::Authorization(Authorization { status, headers, body: b"no".to_vec() })
        }
    }
}

fn is_line(name: &str, value: &[u8]) -> bool {
    let is_token = |byte: u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token) && !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// What would split a line is refused when settings are read, or left out by the writer: either way it is nowhere.
fn written(edits: &[HeaderEdit<'_>]) {
    for edit in edits {
        if let Change::Set(value) | Change::Add(value) = &edit.change {
            assert!(is_line(&edit.name, value), "{edit:?}");
        }
    }
}

/// An answer is written so that it reads as it was meant.
fn answered(answer: &Answer) {
    let headers: Vec<(&str, &[u8])> =
        answer.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    let written = WrittenAnswer { status: answer.status, headers: &headers, connection: Connection::Stays };
    let mut bytes = Vec::new();
    match answer.status {
        204 | 304 => written.write_head(&mut bytes, Framing::None),
        _ => written.write(&mut bytes, &answer.body),
    }
    let mut storage = Storage::new();
    let asked = Asked::default();
    match http1::Response::parse(&bytes, &mut storage, &LIMITS, asked) {
        Ok(Parsed::Complete(response)) => {
            assert_eq!(response.status, answer.status);
            let own = usize::from(response.framing != Framing::None || !matches!(answer.status, 204 | 304));
            assert_eq!(response.headers().len(), headers.len() + own, "{}", bytes.escape_ascii());
        }
        other => panic!("{other:?}: {}", bytes.escape_ascii()),
    }
}
