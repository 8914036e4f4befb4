//! `headers`: fields set, added and removed, on the request and on the response. Within one side: removed first, then set,
//! then added.

use crate::edits::HeaderEdit;
use crate::spec::{Fields, SpecError};
use crate::step::{Note, Seen, SeenResponse, Step, Verdict};
use serde_json::Value;

/// Bytes of one value.
const VALUE_BYTES_MAX: usize = 8 * 1024;
/// Bytes of one name.
const NAME_BYTES_MAX: usize = 256;

/// What frames a message or belongs to one connection (RFC 9110, section 7.6.1; RFC 9112, section 6) is not for editing;
/// `Host` is the route's own setting.
const REFUSED: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

#[derive(Debug)]
pub(crate) struct HeaderEdits {
    request: Vec<Edit>,
    response: Vec<Edit>,
}

#[derive(Debug)]
enum Edit {
    Remove(String),
    Set(String, String),
    Add(String, String),
}

impl HeaderEdits {
    pub fn read(mut fields: Fields) -> Result<Self, SpecError> {
        let (request, response) = (side(fields.object("Request")?)?, side(fields.object("Response")?)?);
        fields.done()?;
        Ok(Self { request, response })
    }
}

fn side(fields: Option<Fields>) -> Result<Vec<Edit>, SpecError> {
    let Some(mut fields) = fields else { return Ok(Vec::new()) };
    let mut edits = Vec::new();
    for name in fields.texts("Remove")? {
        check_name(&name).map_err(|message| fields.error("Remove", message))?;
        edits.push(Edit::Remove(name));
    }
    for (field, edit) in [("Set", Edit::Set as fn(String, String) -> Edit), ("Add", Edit::Add)] {
        for (name, value) in fields.map(field)? {
            check_name(&name).map_err(|message| fields.error(field, message))?;
            let Value::String(value) = value else {
                return Err(fields.error(field, format!("{name}: expected a string, found {value}")));
            };
            if !is_value(&value) {
                return Err(fields.error(field, format!("{name}: {value:?} cannot be a header's value")));
            }
            edits.push(edit(name, value));
        }
    }
    fields.done()?;
    Ok(edits)
}

fn check_name(name: &str) -> Result<(), String> {
    if !is_name(name) {
        return Err(format!("{name:?} cannot be a header's name"));
    }
    if REFUSED.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(format!("{name} is the edge's own"));
    }
    Ok(())
}

/// RFC 9110, section 5.6.2: a token.
pub(crate) fn is_name(text: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(token)
}

/// RFC 9110, section 5.5, without what only old senders use: nothing that could end a line.
pub(crate) fn is_value(text: &str) -> bool {
    let plain = |byte: u8| byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
    text.len() <= VALUE_BYTES_MAX && text.bytes().all(plain) && text.trim() == text
}

impl Edit {
    fn borrowed(&self) -> HeaderEdit<'_> {
        match self {
            Self::Remove(name) => HeaderEdit::remove(name),
            Self::Set(name, value) => HeaderEdit::set(name, value.as_bytes()),
            Self::Add(name, value) => HeaderEdit::add(name, value.as_bytes()),
        }
    }
}

impl Step for HeaderEdits {
    fn request<'c>(&'c self, seen: &mut Seen<'_, 'c>) -> Verdict<'c> {
        self.request.iter().for_each(|edit| seen.edit(edit.borrowed()));
        Verdict::Pass
    }

    fn response<'c>(&'c self, _note: &mut Note, seen: &mut SeenResponse<'_, 'c>) {
        self.response.iter().for_each(|edit| seen.edit(edit.borrowed()));
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{at, chain, passage, refusal, request};
    use crate::{Headers, Response};
    use serde_json::json;

    fn lines(each: impl Fn(&mut dyn FnMut(&str, &[u8]))) -> Vec<String> {
        let mut lines = Vec::new();
        each(&mut |name, value| lines.push(format!("{name}: {}", String::from_utf8_lossy(value))));
        lines
    }

    #[test]
    fn both_sides_are_edited() {
        let chain = chain(
            "headers",
            json!({"Request": {"Set": {"X-Env": "prod"}, "Add": {"X-Tag": "b"}, "Remove": ["x-secret"]},
                "response": {"set": {"Strict-Transport-Security": "max-age=1"}, "remove": ["Server"]}}),
        );
        let original = [("X-Env", "test"), ("X-Tag", "a"), ("X-Secret", "s"), ("Accept", "*/*")];
        let mut passage = passage(&chain, &request("GET", "/", &original));
        let after = lines(|visit| passage.edits.each(&original, visit));
        assert_eq!(after, ["X-Tag: a", "Accept: */*", "X-Env: prod", "X-Tag: b"]);
        let answered = [("Server", "x"), ("Content-Type", "text/html")];
        let response = Response { status: 200, headers: &answered, body_bytes: None, is_own: false };
        let edits = passage.response(&response, at(0));
        let after = lines(|visit| edits.each(&answered as &dyn Headers, visit));
        assert_eq!(after, ["Content-Type: text/html", "Strict-Transport-Security: max-age=1"]);
    }

    #[test]
    fn what_would_break_a_message_is_refused() {
        for settings in [
            json!({"Request": {"Set": {"X-A": "a\r\nX-B: b"}}}),
            json!({"Request": {"Set": {"X-A": "a\u{0}"}}}),
            json!({"Request": {"Set": {"X A": "a"}}}),
            json!({"Request": {"Set": {"": "a"}}}),
            json!({"Request": {"Set": {"Transfer-Encoding": "chunked"}}}),
            json!({"Response": {"Add": {"content-LENGTH": "3"}}}),
            json!({"Response": {"Remove": ["Connection"]}}),
            json!({"Response": {"Set": {"X-A": 1}}}),
        ] {
            let error = refusal("headers", settings.clone());
            assert!(error.starts_with("Request.") || error.starts_with("Response."), "{settings}: {error}");
        }
    }
}
