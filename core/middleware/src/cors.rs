//! `cors`: which other origins' pages may ask and read (the Fetch standard, section 3.2). A preflight (OPTIONS with
//! `Origin` and `Access-Control-Request-Method`) is answered here with 204, unless `PassPreflight`; every other response
//! gets the fields that let the origin read it, also an error made by the edge. What the server says itself is replaced.
//! An origin that is not allowed gets none of them, and its browser refuses.

use crate::answer::Answer;
use crate::edits::HeaderEdit;
use crate::headers::{is_name, is_value};
use crate::spec::{Fields, SpecError, regexp};
use crate::step::{Note, Seen, SeenResponse, Step, Verdict};
use regex::Regex;

/// Bytes an `Origin` may have.
const ORIGIN_BYTES_MAX: usize = 1024;
const MAX_AGE_SECONDS_MAX: i64 = 24 * 3600;
const METHODS: [&str; 3] = ["GET", "HEAD", "POST"];

#[derive(Debug)]
pub(crate) struct Cors {
    any_origin: bool,
    origins: Vec<String>,
    origin_regexps: Vec<Regex>,
    methods: String,
    /// None: whatever the browser asks for.
    headers: Option<String>,
    exposed: Option<String>,
    credentials: bool,
    max_age_seconds: Option<u64>,
    pass_preflight: bool,
}

impl Cors {
    pub fn read(mut fields: Fields) -> Result<Self, SpecError> {
        let mut origins = fields.texts("AllowOrigins")?;
        let any_origin = origins.iter().any(|origin| origin == "*");
        origins.retain(|origin| origin != "*");
        if let Some(wrong) = origins.iter().find(|origin| !is_origin(origin)) {
            return Err(fields.error("AllowOrigins", format!("{wrong:?} is no origin (as in https://a.example)")));
        }
        let patterns = fields.texts("AllowOriginsRegexp")?;
        // The whole origin has to match: `https://a\.example` must not let https://a.example.evil in.
        let whole = |pattern: &String| regexp("AllowOriginsRegexp", &format!("^(?:{pattern})$"));
        let origin_regexps = patterns.iter().map(whole).collect::<Result<Vec<_>, _>>()?;
        if !any_origin && origins.is_empty() && origin_regexps.is_empty() {
            return Err(fields.error("AllowOrigins", "no origin is allowed"));
        }
        let credentials = fields.flag("AllowCredentials")?;
        if credentials && any_origin {
            return Err(fields.error("AllowCredentials", "cannot be with the origin *: name the origins"));
        }
        let methods = tokens(&mut fields, "AllowMethods")?.unwrap_or_else(|| METHODS.join(", "));
        let headers = match tokens(&mut fields, "AllowHeaders")? {
            Some(any) if any == "*" => None,
            named => Some(named.unwrap_or_default()),
        };
        let exposed = tokens(&mut fields, "ExposeHeaders")?;
        let max_age_seconds = fields.bounded("MaxAgeSeconds", 0, MAX_AGE_SECONDS_MAX)?;
        let pass_preflight = fields.flag("PassPreflight")?;
        fields.done()?;
        Ok(Self {
            any_origin,
            origins,
            origin_regexps,
            methods,
            headers,
            exposed,
            credentials,
            max_age_seconds,
            pass_preflight,
        })
    }

    fn allows(&self, origin: &str) -> bool {
        origin.len() <= ORIGIN_BYTES_MAX
            && is_value(origin)
            && (self.any_origin
                || self.origins.iter().any(|known| known == origin)
                || self.origin_regexps.iter().any(|known| known.is_match(origin)))
    }

    fn allowed_origin<'a>(&self, origin: &'a str) -> &'a str {
        if self.any_origin { "*" } else { origin }
    }

    fn preflight(&self, origin: Option<&str>, asked_headers: Option<&str>) -> Answer {
        let answer = Answer { status: 204, ..Answer::default() };
        let answer = answer.with("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
        if origin.is_none() {
            return answer;
        }
        let mut answer = answer.with("Access-Control-Allow-Methods", self.methods.as_str());
        let headers = self.headers.as_deref().or(asked_headers.filter(|asked| is_value(asked))).unwrap_or_default();
        if !headers.is_empty() {
            answer = answer.with("Access-Control-Allow-Headers", headers);
        }
        if let Some(seconds) = self.max_age_seconds {
            answer = answer.with("Access-Control-Max-Age", seconds.to_string());
        }
        self.grant(origin).into_iter().fold(answer, |answer, (name, value)| answer.with(name, value))
    }

    /// What lets an origin read a response.
    fn grant(&self, origin: Option<&str>) -> Vec<(&'static str, String)> {
        let Some(origin) = origin else { return Vec::new() };
        let mut grant = vec![("Access-Control-Allow-Origin", self.allowed_origin(origin).to_owned())];
        if self.credentials {
            grant.push(("Access-Control-Allow-Credentials", "true".to_owned()));
        }
        grant
    }
}

/// Names or methods, joined.
fn tokens(fields: &mut Fields, field: &'static str) -> Result<Option<String>, SpecError> {
    let tokens = fields.texts(field)?;
    if let Some(wrong) = tokens.iter().find(|token| !is_name(token)) {
        return Err(fields.error(field, format!("{wrong:?} is neither a name nor a method")));
    }
    Ok((!tokens.is_empty()).then(|| tokens.join(", ")))
}

fn is_origin(text: &str) -> bool {
    let host = text.split_once("://").map_or("", |(_, host)| host);
    text == "null" || !host.is_empty() && !host.contains('/') && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Step for Cors {
    fn request<'c>(&'c self, seen: &mut Seen<'_, 'c>) -> Verdict<'c> {
        let Some(origin) = seen.header_text("Origin") else { return Verdict::PassWith(Note::Origin(None)) };
        let origin = Some(origin).filter(|origin| self.allows(origin));
        let asked_method = seen.header("Access-Control-Request-Method");
        if seen.request.method == "OPTIONS" && asked_method.is_some() && !self.pass_preflight {
            let asked_headers = seen.header_text("Access-Control-Request-Headers");
            return Verdict::Answer(self.preflight(origin, asked_headers));
        }
        Verdict::PassWith(Note::Origin(origin.map(str::to_owned)))
    }

    fn response<'c>(&'c self, note: &mut Note, seen: &mut SeenResponse<'_, 'c>) {
        let Note::Origin(origin) = note else { return };
        if !self.any_origin {
            seen.vary("Origin");
        }
        for name in ["Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"] {
            if seen.header(name).is_some() {
                seen.edit(HeaderEdit::remove(name));
            }
        }
        for (name, value) in self.grant(origin.as_deref()) {
            seen.edit(HeaderEdit::set(name, value.into_bytes()));
        }
        if let (Some(exposed), Some(_)) = (&self.exposed, origin) {
            seen.edit(HeaderEdit::set("Access-Control-Expose-Headers", exposed.as_bytes()));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{answer, at, chain, chain_of, field, passage, refusal, request};
    use crate::{Chain, Response};
    use serde_json::json;

    fn cors() -> Chain {
        chain(
            "cors",
            json!({"AllowOrigins": ["https://a.example"], "AllowOriginsRegexp": ["https://[a-z]+\\.b\\.example"],
                "AllowMethods": ["GET", "PUT"], "AllowHeaders": ["X-A"], "ExposeHeaders": ["ETag"],
                "AllowCredentials": true, "MaxAgeSeconds": 600}),
        )
    }

    /// The fields of the response to a GET from an origin.
    fn read(chain: &Chain, origin: &[(&str, &str)], answered: &[(&str, &str)]) -> Vec<String> {
        let mut passage = passage(chain, &request("GET", "/", &origin));
        let response = Response { status: 200, headers: &answered, body_bytes: None, is_own: false };
        let edits = passage.response(&response, at(0));
        let mut lines = Vec::new();
        edits.each(&answered, &mut |name, value| lines.push(format!("{name}: {}", String::from_utf8_lossy(value))));
        lines
    }

    #[test]
    fn a_preflight_is_answered() {
        let headers = [("Origin", "https://x.b.example"), ("Access-Control-Request-Method", "PUT")];
        let answer = answer(&cors(), &request("OPTIONS", "/x", &headers));
        assert_eq!((answer.status, answer.body.len()), (204, 0));
        for (name, value) in [
            ("Access-Control-Allow-Origin", "https://x.b.example"),
            ("Access-Control-Allow-Credentials", "true"),
            ("Access-Control-Allow-Methods", "GET, PUT"),
            ("Access-Control-Allow-Headers", "X-A"),
            ("Access-Control-Max-Age", "600"),
        ] {
            assert_eq!(field(&answer, name), Some(value));
        }
        for origin in ["https://evil.example", "https://a.example.evil", "https://x.b.example.evil", "null"] {
            let headers = [("Origin", origin), ("Access-Control-Request-Method", "PUT")];
            let answer = crate::testing::answer(&cors(), &request("OPTIONS", "/x", &headers));
            assert_eq!((answer.status, field(&answer, "access-control-allow-origin")), (204, None), "{origin}");
        }
    }

    #[test]
    fn responses_say_who_may_read_them_whatever_the_server_says() {
        let allowed = [("Origin", "https://a.example")];
        let servers = [("Access-Control-Allow-Origin", "*"), ("Vary", "Accept")];
        assert_eq!(
            read(&cors(), &allowed, &servers),
            [
                "Vary: Accept",
                "Vary: Origin",
                "Access-Control-Allow-Origin: https://a.example",
                "Access-Control-Allow-Credentials: true",
                "Access-Control-Expose-Headers: ETag"
            ]
        );
        let denied = [("Origin", "https://c.example")];
        assert_eq!(read(&cors(), &denied, &servers), ["Vary: Accept", "Vary: Origin"]);
        assert_eq!(read(&cors(), &[], &[("Vary", "origin")]), ["Vary: origin"]);
        let any = chain("cors", json!({"AllowOrigins": ["*"]}));
        assert_eq!(read(&any, &denied, &[]), ["Access-Control-Allow-Origin: *"]);
    }

    #[test]
    fn an_answer_from_further_in_can_be_read_too() {
        let chain = chain_of(&json!([
            {"Id": "c", "Priority": 0, "Type": "cors", "Middleware": {"AllowOrigins": ["https://a.example"]}},
            {"Id": "d", "Priority": 1, "Type": "iplist", "Middleware": {"Deny": ["192.0.2.7"]}},
        ]));
        let refused = answer(&chain, &request("GET", "/", &[("Origin", "https://a.example")]));
        assert_eq!(refused.status, 403);
        assert_eq!(field(&refused, "Access-Control-Allow-Origin"), Some("https://a.example"));
    }

    #[test]
    fn preflights_may_pass_and_any_header_may_be_asked_for() {
        let headers = [
            ("Origin", "https://a.example"),
            ("Access-Control-Request-Method", "PUT"),
            ("Access-Control-Request-Headers", "x-b,x-c"),
        ];
        let request = request("OPTIONS", "/", &headers);
        let any = chain("cors", json!({"AllowOrigins": ["*"], "AllowHeaders": ["*"]}));
        assert_eq!(field(&answer(&any, &request), "Access-Control-Allow-Headers"), Some("x-b,x-c"));
        let passing = chain("cors", json!({"AllowOrigins": ["*"], "PassPreflight": true}));
        assert!(crate::testing::passes(&passing, &request));
    }

    #[test]
    fn settings_that_open_everything_or_nothing_are_refused() {
        for settings in [
            json!({}),
            json!({"AllowOrigins": ["*"], "AllowCredentials": true}),
            json!({"AllowOrigins": ["a.example"]}),
            json!({"AllowOrigins": ["https://a.example/"]}),
            json!({"AllowOriginsRegexp": ["("]}),
            json!({"AllowOrigins": ["*"], "AllowMethods": ["GET, PUT"]}),
        ] {
            refusal("cors", settings);
        }
    }
}
