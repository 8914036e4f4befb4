//! A replacement with pieces of the request in it.

use crate::headers::is_name;
use crate::step::Seen;
use std::borrow::Cow;

/// Bytes one replacement may have.
const TEMPLATE_BYTES_MAX: usize = 8 * 1024;

#[derive(Debug)]
pub struct Template(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    /// A regexp's replacement: `$1` counts.
    Text(String),
    Header(String),
    Host,
    Method,
    Target,
}

impl Template {
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(format!("more than {TEMPLATE_BYTES_MAX} bytes"));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            pieces.push(Piece::Text(before.to_owned()));
            let (action, after) = after.split_once("}}").ok_or("`{{` has no `}}`")?;
            pieces.push(Piece::parse(action.trim())?);
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// What comes from the request is taken literally.
    pub fn render(&self, seen: &Seen<'_, '_>) -> Cow<'_, str> {
        if let [Piece::Text(text)] = self.0.as_slice() {
            return Cow::Borrowed(text);
        }
        let mut text = String::new();
        for piece in &self.0 {
            let literal = match piece {
                Piece::Text(replacement) => {
                    text.push_str(replacement);
                    continue;
                }
                Piece::Header(name) => seen.header_text(name).unwrap_or_default(),
                Piece::Host => seen.request.host,
                Piece::Method => seen.request.method,
                Piece::Target => seen.target(),
            };
            text.push_str(&literal.replace('$', "$$"));
        }
        Cow::Owned(text)
    }
}

impl Piece {
    fn parse(action: &str) -> Result<Self, String> {
        match action {
            ".Request.Host" => return Ok(Self::Host),
            ".Request.Method" => return Ok(Self::Method),
            ".Request.RequestURI" | ".Request.URL.RequestURI" => return Ok(Self::Target),
            _ => {}
        }
        let name = action.strip_prefix(".Request.Header.Get").map(str::trim);
        let quoted = |quote: char| name.and_then(|name| name.strip_prefix(quote)?.strip_suffix(quote));
        match quoted('"').or_else(|| quoted('`')) {
            Some(name) if is_name(name) => Ok(Self::Header(name.to_owned())),
            _ => Err(format!(
                "`{{{{{action}}}}}` is not known: .Request.Header.Get \"NAME\", .Request.Host, .Request.Method and \
                 .Request.RequestURI are"
            )),
        }
    }
}
