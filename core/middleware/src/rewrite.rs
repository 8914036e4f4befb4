//! `rewrite`: a regexp over the whole URL, `scheme://host/target`, whose replacement is the new URL; forwarded, or told to
//! the client as a 302. Only path and query of the new URL are forwarded: scheme and host are the server's and the
//! client's.
//!
//! A replacement may hold `{{.Request.Header.Get "X"}}`, `{{.Request.Host}}`, `{{.Request.Method}}`, `{{.Request.RequestURI}}`:
//! what of Go's templates people used. Other templates, and `RewriteBody`, are refused when the settings are read.

mod template;

use crate::answer::Answer;
use crate::spec::{Fields, SpecError, regexp};
use crate::step::{Seen, Step, Verdict};
use crate::url::{is_target, target_of};
use regex::Regex;
use std::borrow::Cow;
use template::Template;

#[derive(Debug)]
pub(crate) struct Rewrite {
    regexp: Regex,
    replacement: Template,
    redirect: bool,
}

impl Rewrite {
    pub fn read(mut fields: Fields) -> Result<Self, SpecError> {
        let regexp = regexp("Regexp", &fields.text("Regexp")?)?;
        let replacement = fields.text("Replacement")?;
        let replacement = Template::parse(&replacement).map_err(|message| fields.error("Replacement", message))?;
        if fields.flag("RewriteBody")? {
            return Err(fields.error("RewriteBody", "bodies are not rewritten: they stream"));
        }
        Ok(Self { regexp, replacement, redirect: fields.flag("Redirect")? })
    }
}

impl Step for Rewrite {
    fn request<'c>(&'c self, seen: &mut Seen<'_, 'c>) -> Verdict<'c> {
        let url = [seen.request.scheme, "://", seen.request.host, seen.target()].concat();
        let replacement = self.replacement.render(seen);
        // Borrowed: nothing matched.
        let Cow::Owned(other) = self.regexp.replace_all(&url, replacement.as_ref()) else { return Verdict::Pass };
        if self.redirect {
            let readable = other.bytes().all(|byte| byte.is_ascii_graphic());
            return match (other == url, readable) {
                (true, _) => Verdict::Pass,
                (_, true) => Verdict::Answer(Answer::redirect(302, other)),
                (_, false) => Verdict::Answer(no_url()),
            };
        }
        match target_of(&other).filter(|target| is_target(target)) {
            Some(target) if target == seen.target() => Verdict::Pass,
            Some(target) => {
                seen.edits.target = Some(target);
                Verdict::Pass
            }
            None => Verdict::Answer(no_url()),
        }
    }
}

/// vulcand's status when a replacement makes no URL.
fn no_url() -> Answer {
    Answer::error(500, "the rewriting makes no URL")
}

#[cfg(test)]
mod tests {
    use crate::testing::{answer, chain, field, passage, refusal, request};
    use crate::{Chain, Request};
    use serde_json::json;

    fn rewrite(regexp: &str, replacement: &str) -> Chain {
        chain("rewrite", json!({"Regexp": regexp, "Replacement": replacement, "RewriteBody": false}))
    }

    fn target(chain: &Chain, target: &str, headers: &[(&str, &str)]) -> Option<String> {
        let request = Request { host: "localhost", ..request("GET", target, &headers) };
        passage(chain, &request).edits.target.clone()
    }

    #[test]
    fn the_target_is_rewritten_where_the_url_matches() {
        let strip = rewrite("^http://localhost/foo(.*)", "http://localhost$1");
        assert_eq!(target(&strip, "/foo/bar?a=%20b", &[]).as_deref(), Some("/bar?a=%20b"));
        assert_eq!(target(&strip, "/foo", &[]).as_deref(), Some("/"));
        assert_eq!(target(&rewrite("^http://localhost/foo/(.*)", "http://localhost$1"), "/fooo/bar", &[]), None);
        assert_eq!(
            target(&rewrite("^.*/(\\w+)/(?P<last>\\w+)$", "/${last}x/$1"), "/a/b", &[]).as_deref(),
            Some("/bx/a")
        );
        let https = rewrite("^https://localhost/(foo)/(bar)$", "http://localhost/$2/$1");
        let request = Request { scheme: "https", host: "localhost", ..request("GET", "/foo/bar", &[("a", "b")]) };
        assert_eq!(passage(&https, &request).edits.target.as_deref(), Some("/bar/foo"));
    }

    #[test]
    fn headers_may_be_used() {
        let chain = rewrite("^http://localhost/(foo)/(bar)$", "/$1/{{.Request.Header.Get \"X-Header\"}}/$2");
        assert_eq!(target(&chain, "/foo/bar", &[("X-Header", "baz")]).as_deref(), Some("/foo/baz/bar"));
        assert_eq!(target(&chain, "/foo/bar", &[]).as_deref(), Some("/foo//bar"));
        assert_eq!(target(&chain, "/foo/bar", &[("X-Header", "$1")]).as_deref(), Some("/foo/$1/bar"));
        let bad = [("X-Header", "a b")];
        let request = Request { host: "localhost", ..request("GET", "/foo/bar", &bad) };
        assert_eq!(answer(&chain, &request).status, 500);
    }

    #[test]
    fn redirects_are_told_to_the_client() {
        let settings =
            json!({"Regexp": "^http://localhost/(foo)/(bar)", "Replacement": "https://localhost/$2", "Redirect": true});
        let chain = chain("rewrite", settings);
        let moved = answer(&chain, &Request { host: "localhost", ..request("GET", "/foo/bar", &[("a", "b")]) });
        assert_eq!((moved.status, field(&moved, "Location")), (302, Some("https://localhost/bar")));
        assert_eq!(moved.body, b"Found");
    }

    #[test]
    fn settings_that_cannot_be_kept_are_refused() {
        assert!(refusal("rewrite", json!({"Regexp": "["})).starts_with("Regexp"));
        assert!(refusal("rewrite", json!({"RewriteBody": true})).starts_with("RewriteBody"));
        assert!(refusal("rewrite", json!({"Replacement": "{{.Bad}}"})).starts_with("Replacement"));
        assert!(refusal("rewrite", json!({"Replacement": "{{.Request.Host"})).starts_with("Replacement"));
    }
}
