//! `forwardauth`: another service says who may pass. It gets a GET with the client's header fields and
//! `X-Forwarded-{Method,Proto,Host,Uri,For}`; 2xx lets the request pass, with the named fields of that answer on it; any
//! other answer goes to the client as it is; no answer is 503.

use crate::answer::Answer;
use crate::edits::HeaderEdit;
use crate::headers::is_name;
use crate::question::{AUTHORIZATION_BODY_BYTES_MAX, Authorization, AuthorizationRequest, Question, Reply};
use crate::spec::{Fields, SpecError};
use crate::step::{Note, Seen, Step, Verdict};
use crate::url::check_absolute;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);

/// What belongs to one connection or to the body (RFC 9110, section 7.6.1) is not passed on, in either direction.
const OWN: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

#[derive(Debug)]
pub(crate) struct ForwardAuth {
    address: String,
    /// Fields of the request that the service gets; empty: all.
    request_headers: Vec<String>,
    /// Fields of its answer that the server gets. The client's own of those names never reach it.
    response_headers: Vec<String>,
    timeout: Duration,
}

impl ForwardAuth {
    pub fn read(mut fields: Fields) -> Result<Self, SpecError> {
        let address = fields.required_text("Address")?;
        check_absolute("Address", &address)?;
        let request_headers = names(&mut fields, "AuthRequestHeaders")?;
        let response_headers = names(&mut fields, "AuthResponseHeaders")?;
        let timeout = fields.duration("Timeout")?.unwrap_or(TIMEOUT);
        fields.done()?;
        Ok(Self { address, request_headers, response_headers, timeout })
    }

    fn question(&self, seen: &Seen<'_, '_>) -> AuthorizationRequest {
        let mut headers = Vec::new();
        seen.each_header(&mut |name, value| {
            let wanted = self.request_headers.is_empty() || lists(&self.request_headers, name);
            if wanted && !is_own(name) && !is_forwarded(name) {
                headers.push((name.to_owned(), value.to_vec()));
            }
        });
        let request = seen.request;
        for (name, value) in [
            ("X-Forwarded-Method", request.method),
            ("X-Forwarded-Proto", request.scheme),
            ("X-Forwarded-Host", request.host),
            ("X-Forwarded-Uri", seen.target()),
            ("X-Forwarded-For", request.client.to_canonical().to_string().as_str()),
        ] {
            headers.push((name.to_owned(), value.as_bytes().to_vec()));
        }
        AuthorizationRequest { url: self.address.clone(), headers, timeout: self.timeout }
    }

    fn admit<'c>(&'c self, seen: &mut Seen<'_, 'c>, authorization: &Authorization) {
        for name in &self.response_headers {
            seen.edit(HeaderEdit::remove(name));
            for (_, value) in authorization.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)) {
                seen.edit(HeaderEdit::add(name, value.clone()));
            }
        }
    }
}

fn names(fields: &mut Fields, field: &'static str) -> Result<Vec<String>, SpecError> {
    let names = fields.texts(field)?;
    match names.iter().find(|name| !is_name(name) || is_own(name)) {
        Some(name) => Err(fields.error(field, format!("{name:?} cannot be passed on"))),
        None => Ok(names),
    }
}

fn lists(names: &[String], name: &str) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn is_own(name: &str) -> bool {
    OWN.iter().any(|own| own.eq_ignore_ascii_case(name))
}

fn is_forwarded(name: &str) -> bool {
    const FAMILY: &str = "x-forwarded-";
    name.get(..FAMILY.len()).is_some_and(|start| start.eq_ignore_ascii_case(FAMILY))
}

impl Step for ForwardAuth {
    fn request<'c>(&'c self, seen: &mut Seen<'_, 'c>) -> Verdict<'c> {
        Verdict::Ask(Question::Authorize(self.question(seen)), Note::None)
    }

    fn resume<'c>(&'c self, seen: &mut Seen<'_, 'c>, _note: Note, reply: Reply) -> Verdict<'c> {
        match reply {
            Reply::Authorization(authorization) if (200..300).contains(&authorization.status) => {
                self.admit(seen, &authorization);
                Verdict::Pass
            }
            Reply::Authorization(Authorization { status: status @ 300..=599, headers, mut body }) => {
                body.truncate(AUTHORIZATION_BODY_BYTES_MAX);
                let headers = headers.into_iter().filter(|(name, _)| !is_own(name)).collect();
                Verdict::Answer(Answer { status, headers, body, effects: Vec::new() })
            }
            Reply::Authorization(_) | Reply::Verified(_) | Reply::Failed => {
                Verdict::Answer(Answer::error(503, "the authorizing service does not answer"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, chain, field, refusal, request};
    use crate::{Decision, Request};
    use serde_json::json;

    fn decide(reply: Reply) -> (AuthorizationRequest, Result<Vec<String>, Answer>) {
        let settings = json!({"Address": "http://auth.example/check", "AuthResponseHeaders": ["X-User", "X-Groups"]});
        let chain = chain("forwardauth", settings);
        let headers =
            [("Cookie", "s=1"), ("x-user", "root"), ("Transfer-Encoding", "chunked"), ("X-Forwarded-For", "1.2.3.4")];
        let request = Request { scheme: "https", ..request("PUT", "/x?y", &headers) };
        let Decision::Ask(asking) = chain.before(&request, at(0)) else { panic!("nothing is asked") };
        let Question::Authorize(asked) = asking.question().clone() else { panic!() };
        let decided = match asking.resume(reply, &request, at(1)) {
            Decision::Continue(passage) => {
                let mut lines = Vec::new();
                passage.edits.each(request.headers, &mut |name, value| {
                    lines.push(format!("{name}: {}", String::from_utf8_lossy(value)));
                });
                Ok(lines)
            }
            Decision::Answer(answer) => Err(answer),
            Decision::Ask(_) => panic!("asked twice"),
        };
        (asked, decided)
    }

    fn says(status: u16, headers: &[(&str, &str)], body: &str) -> Reply {
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
        Reply::Authorization(Authorization { status, headers, body: body.as_bytes().to_vec() })
    }

    #[test]
    fn the_service_is_shown_the_request_and_names_the_user() {
        let (asked, decided) = decide(says(204, &[("X-User", "ann"), ("X-Other", "no")], ""));
        assert_eq!((asked.url.as_str(), asked.timeout), ("http://auth.example/check", TIMEOUT));
        let shown: Vec<String> =
            asked.headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))).collect();
        assert_eq!(
            shown,
            [
                "Cookie: s=1",
                "x-user: root",
                "X-Forwarded-Method: PUT",
                "X-Forwarded-Proto: https",
                "X-Forwarded-Host: a.example",
                "X-Forwarded-Uri: /x?y",
                "X-Forwarded-For: 192.0.2.7"
            ]
        );
        let expected = ["Cookie: s=1", "Transfer-Encoding: chunked", "X-Forwarded-For: 1.2.3.4", "X-User: ann"];
        assert_eq!(decided.unwrap(), expected);
    }

    #[test]
    fn a_client_cannot_name_itself() {
        let decided = decide(says(200, &[], "")).1.unwrap();
        assert!(!decided.iter().any(|line| line.to_lowercase().starts_with("x-user")), "{decided:?}");
    }

    #[test]
    fn a_refusal_goes_to_the_client_as_it_is() {
        let refused = decide(says(302, &[("Location", "/login"), ("Connection", "close")], "go")).1.unwrap_err();
        assert_eq!((refused.status, field(&refused, "location")), (302, Some("/login")));
        assert_eq!((refused.body.as_slice(), field(&refused, "connection")), (b"go".as_slice(), None));
    }

    #[test]
    fn without_an_answer_nobody_passes() {
        for reply in [Reply::Failed, says(100, &[], ""), says(0, &[], ""), Reply::Verified(true)] {
            assert_eq!(decide(reply).1.unwrap_err().status, 503);
        }
    }

    #[test]
    fn wrong_settings_are_refused() {
        assert!(refusal("forwardauth", json!({})).starts_with("Address"));
        assert!(refusal("forwardauth", json!({"Address": "auth:80"})).starts_with("Address"));
        let settings = json!({"Address": "http://a/", "AuthResponseHeaders": ["Host"]});
        assert!(refusal("forwardauth", settings).starts_with("AuthResponseHeaders"));
    }
}
