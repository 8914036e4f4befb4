//! A response the edge gives itself.

use crate::edits::{HeaderEdit, each_after};
use crate::effect::Effect;
use crate::view::Headers;
use serde_json::json;

/// Complete but for its length and connection fields, which are the shell's; a HEAD is answered without the body.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub effects: Vec<Effect>,
}

impl Answer {
    /// vulcand's own middlewares answer in plain text.
    pub(crate) fn text(status: u16, body: impl Into<String>) -> Self {
        let answer = Self { status, body: body.into().into_bytes(), ..Self::default() };
        answer.with("Content-Type", "text/plain; charset=utf-8")
    }

    /// As the edge says every other error.
    pub(crate) fn error(status: u16, message: &str) -> Self {
        let body = json!({ "error": message }).to_string().into_bytes();
        Self { status, body, ..Self::default() }.with("Content-Type", "application/json")
    }

    /// The bodies of redirects are what Go's `http.StatusText` says.
    pub(crate) fn redirect(status: u16, location: String) -> Self {
        let text = match status {
            301 => "Moved Permanently",
            307 => "Temporary Redirect",
            308 => "Permanent Redirect",
            _ => "Found",
        };
        Self::text(status, text).with("Location", location)
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// RFC 9110, sections 15.3.5 and 15.4.5: these have no content.
    pub(crate) fn drop_forbidden_body(&mut self) {
        if matches!(self.status, 204 | 304) {
            self.body.clear();
            self.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("Content-Type"));
        }
    }

    pub(crate) fn edit(&mut self, edits: &[HeaderEdit<'_>]) {
        if edits.is_empty() {
            return;
        }
        let mut edited = Vec::with_capacity(self.headers.len() + edits.len());
        each_after(edits, self, &mut |name, value| edited.push((name.to_owned(), value.to_vec())));
        self.headers = edited;
    }
}

impl Headers for Answer {
    fn first(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }

    fn each(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        for (name, value) in &self.headers {
            visit(name, value);
        }
    }
}
