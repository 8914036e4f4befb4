//! `redirect`: to another scheme (HTTPS), or to what a regexp makes of the URL. A GET or HEAD is told 302, or 301 when it is
//! for good; other methods 307 and 308, which keep method and body. `Status` says another for all of them.

use crate::answer::Answer;
use crate::spec::{Fields, SpecError, regexp};
use crate::step::{Seen, Step, Verdict};
use crate::url::without_port;
use regex::Regex;

#[derive(Debug)]
pub(crate) struct Redirect {
    to: To,
    permanent: bool,
    /// For every method.
    status: Option<u16>,
}

#[derive(Debug)]
enum To {
    /// The same URL with this scheme, and this port unless it is the scheme's own.
    Scheme { scheme: String, port: Option<u64> },
    /// Replaced in `scheme://host/target`; as it was means no redirect.
    Regexp { regexp: Regex, replacement: String },
}

impl Redirect {
    pub fn read(mut fields: Fields) -> Result<Self, SpecError> {
        let permanent = fields.flag("Permanent")?;
        let status = match fields.bounded("Status", 301, 308)? {
            Some(other @ 304..=306) => return Err(fields.error("Status", format!("{other} redirects nobody"))),
            status => status.and_then(|status| u16::try_from(status).ok()),
        };
        let scheme = fields.text("Scheme")?;
        let port = fields.bounded("Port", 1, 65_535)?;
        let pattern = fields.text("Regexp")?;
        let replacement = fields.text("Replacement")?;
        let to = match (scheme.as_str(), pattern.as_str()) {
            ("http" | "https", "") if replacement.is_empty() => {
                let usual = if scheme == "https" { 443 } else { 80 };
                To::Scheme { scheme, port: port.filter(|port| *port != usual) }
            }
            ("", pattern) if !pattern.is_empty() && port.is_none() => {
                To::Regexp { regexp: regexp("Regexp", pattern)?, replacement }
            }
            ("", "") => return Err(fields.error("Scheme", "either Scheme or Regexp is needed")),
            (_, "") => return Err(fields.error("Scheme", "expected http or https, without Replacement")),
            _ => return Err(fields.error("Regexp", "cannot be with Scheme or Port")),
        };
        fields.done()?;
        Ok(Self { to, permanent, status })
    }

    /// Where to, unless the request is there.
    fn location(&self, seen: &Seen<'_, '_>) -> Option<String> {
        let request = seen.request;
        match &self.to {
            To::Scheme { scheme, .. } if scheme == request.scheme => None,
            To::Scheme { scheme, port } => {
                let host = without_port(request.host);
                let port = port.map(|port| format!(":{port}")).unwrap_or_default();
                Some(format!("{scheme}://{host}{port}{}", seen.target()))
            }
            To::Regexp { regexp, replacement } => {
                let url = [request.scheme, "://", request.host, seen.target()].concat();
                let other = regexp.replace(&url, replacement.as_str());
                (other != url).then(|| other.into_owned())
            }
        }
    }
}

impl Step for Redirect {
    fn request<'c>(&'c self, seen: &mut Seen<'_, 'c>) -> Verdict<'c> {
        let Some(location) = self.location(seen) else { return Verdict::Pass };
        if !location.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Verdict::Answer(Answer::error(500, "the redirection makes no URL"));
        }
        let status = match (matches!(seen.request.method, "GET" | "HEAD"), self.permanent) {
            (true, false) => 302,
            (true, true) => 301,
            (false, false) => 307,
            (false, true) => 308,
        };
        Verdict::Answer(Answer::redirect(self.status.unwrap_or(status), location))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{answer, chain, field, passes, refusal, request};
    use serde_json::json;

    const NONE: [(&str, &str); 0] = [];

    #[test]
    fn to_https_and_no_further() {
        let to_https = chain("redirect", json!({"Scheme": "https", "Permanent": true}));
        let get = crate::Request { host: "a.example:8181", ..request("GET", "/x?y=1", &NONE) };
        let moved = answer(&to_https, &get);
        assert_eq!((moved.status, field(&moved, "location")), (301, Some("https://a.example/x?y=1")));
        assert_eq!(answer(&to_https, &crate::Request { method: "POST", ..get }).status, 308);
        assert!(passes(&to_https, &crate::Request { scheme: "https", ..get }));
        let other_port = chain("redirect", json!({"Scheme": "https", "Port": 8443}));
        let moved = answer(&other_port, &get);
        assert_eq!((moved.status, field(&moved, "location")), (302, Some("https://a.example:8443/x?y=1")));
        let kept = chain("redirect", json!({"Scheme": "https", "Status": 308}));
        assert_eq!(answer(&kept, &get).status, 308);
        let v6 = answer(&to_https, &crate::Request { host: "[::1]:80", ..get });
        assert_eq!(field(&v6, "location"), Some("https://[::1]/x?y=1"));
    }

    #[test]
    fn by_regexp_unless_nothing_changes() {
        let to_www = chain(
            "redirect",
            json!({"Regexp": "^(https?)://a\\.example/(.*)", "Replacement": "$1://www.a.example/${2}"}),
        );
        let moved = answer(&to_www, &request("DELETE", "/x", &NONE));
        assert_eq!((moved.status, field(&moved, "location")), (307, Some("http://www.a.example/x")));
        assert!(passes(&to_www, &crate::Request { host: "www.a.example", ..request("GET", "/x", &NONE) }));
        let broken = chain("redirect", json!({"Regexp": "^.*$", "Replacement": "a b\r\n"}));
        assert_eq!(answer(&broken, &request("GET", "/", &NONE)).status, 500);
    }

    #[test]
    fn one_of_the_two_ways() {
        for settings in [
            json!({}),
            json!({"Scheme": "ftp"}),
            json!({"Scheme": "https", "Regexp": "."}),
            json!({"Regexp": "("}),
            json!({"Scheme": "https", "Port": 0}),
            json!({"Scheme": "https", "Status": 200}),
            json!({"Scheme": "https", "Status": 304}),
        ] {
            refusal("redirect", settings);
        }
    }
}
