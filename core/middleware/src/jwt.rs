//! `jwt`: a signed token (RFC 7519, as RFC 7515's compact form); 401 for others, as RFC 6750 says it.
//!
//! * The algorithm is the key's, never the token's: a token whose `alg` no key has is refused, `none` above all.
//! * `crit` is refused: no extension is understood.
//! * `exp` is required unless `AllowNoExpiry`; `nbf` is kept; `iss`, `aud` and other claims as the settings ask.
//! * Claims are read first, since it is cheap, and count only when the signature is right.
//! * A field that carries a claim never reaches the server as the client sent it.

mod claims;
mod key;
mod token;

use crate::answer::Answer;
use crate::edits::HeaderEdit;
use crate::headers::{is_name, is_value};
use crate::question::{Question, Reply};
use crate::spec::{Fields, SpecError};
use crate::step::{Note, Seen, Step, Verdict};
use claims::Expected;
use key::Key;
use std::borrow::Cow;
use token::Token;

/// Keys one middleware may have.
const KEYS_MAX: usize = 32;

#[derive(Debug)]
pub(crate) struct Jwt {
    keys: Vec<Key>,
    expected: Expected,
    place: Place,
    /// Field of the request, and the claim it carries.
    claim_headers: Vec<(String, String)>,
    /// The token goes no further.
    remove_token: bool,
}

/// Where a token stands.
#[derive(Debug)]
enum Place {
    /// `Authorization: Bearer …`
    Bearer,
    Header(String),
    Cookie(String),
}

/// A token whose signature is being checked, and the next key to check it with.
pub(crate) struct Checking {
    token: Token,
    next_key: usize,
}

impl Jwt {
    pub fn read(mut fields: Fields) -> Result<Self, SpecError> {
        let listed = fields.list("Keys")?;
        if listed.is_empty() || listed.len() > KEYS_MAX {
            return Err(fields.error("Keys", format!("expected 1 to {KEYS_MAX} keys")));
        }
        let mut keys = Vec::new();
        for (index, value) in listed.iter().enumerate() {
            keys.push(Key::read(Fields::of(value, &format!("Keys[{index}]."))?)?);
        }
        let expected = Expected::read(&mut fields)?;
        let place = match (fields.text("Header")?, fields.text("Cookie")?) {
            (header, cookie) if header.is_empty() && cookie.is_empty() => Place::Bearer,
            (header, cookie) if cookie.is_empty() && is_name(&header) => Place::Header(header),
            (header, cookie) if header.is_empty() && is_name(&cookie) => Place::Cookie(cookie),
            _ => return Err(fields.error("Header", "expected the name of one Header or of one Cookie")),
        };
        let mut claim_headers = Vec::new();
        for (header, claim) in fields.map("ClaimHeaders")? {
            let claim = claim.as_str().filter(|claim| !claim.is_empty() && is_name(&header));
            let wrong = || fields.error("ClaimHeaders", format!("{header}: expected the name of a claim"));
            claim_headers.push((header.clone(), claim.ok_or_else(wrong)?.to_owned()));
        }
        let remove_token = fields.flag("RemoveToken")?;
        fields.done()?;
        if remove_token && matches!(place, Place::Cookie(_)) {
            return Err(SpecError::new("RemoveToken", "a cookie stays among the others"));
        }
        Ok(Self { keys, expected, place, claim_headers, remove_token })
    }

    /// Asks with the next key that fits the token.
    fn check<'c>(&'c self, mut checking: Checking) -> Verdict<'c> {
        let from = checking.next_key;
        let fits = |key: &Key| key.fits(&checking.token);
        let Some(index) = self.keys[from..].iter().position(fits).map(|index| from + index) else {
            return refuse(Some("the token's signature is not known"));
        };
        checking.next_key = index + 1;
        let (message, signature) = (checking.token.message.clone(), checking.token.signature.clone());
        let question = Question::Signature { key: &self.keys[index].verification, message, signature };
        Verdict::Ask(question, Note::Token(Box::new(checking)))
    }

    fn admit<'c>(&'c self, seen: &mut Seen<'_, 'c>, token: &Token) -> Verdict<'c> {
        for (header, claim) in &self.claim_headers {
            let value = token.claim_text(claim).filter(|value| is_value(value));
            seen.edit(match value {
                Some(value) => HeaderEdit::set(header, value.into_bytes()),
                None => HeaderEdit::remove(header),
            });
        }
        match &self.place {
            Place::Bearer if self.remove_token => seen.edit(HeaderEdit::remove("Authorization")),
            Place::Header(name) if self.remove_token => seen.edit(HeaderEdit::remove(name)),
            _ => {}
        }
        Verdict::Pass
    }
}

impl Place {
    fn find<'s>(&self, seen: &'s Seen<'_, '_>) -> Option<Cow<'s, str>> {
        match self {
            Self::Bearer => {
                let (scheme, token) = seen.header_text("Authorization")?.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().into())
            }
            Self::Header(name) => {
                let text = seen.header_text(name)?;
                Some(text.strip_prefix("Bearer ").unwrap_or(text).trim().into())
            }
            Self::Cookie(name) => cookie(seen, name).map(Cow::Owned),
        }
    }
}

/// HTTP/2 may have a field for each cookie (RFC 9113, section 8.2.3).
fn cookie(seen: &Seen<'_, '_>, name: &str) -> Option<String> {
    let mut found = None;
    seen.each_header(&mut |field, value| {
        if found.is_none() && field.eq_ignore_ascii_case("Cookie") {
            let mut pairs = std::str::from_utf8(value).unwrap_or_default().split(';');
            found = pairs.find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('=').map(str::to_owned));
        }
    });
    found
}

impl Step for Jwt {
    fn request<'c>(&'c self, seen: &mut Seen<'_, 'c>) -> Verdict<'c> {
        let Some(text) = self.place.find(seen) else { return refuse(None) };
        let Some(token) = Token::parse(&text) else { return refuse(Some("the token cannot be read")) };
        match self.expected.check(&token.claims, seen.now.unix_seconds) {
            Ok(()) => self.check(Checking { token, next_key: 0 }),
            Err(reason) => refuse(Some(reason)),
        }
    }

    fn resume<'c>(&'c self, seen: &mut Seen<'_, 'c>, note: Note, reply: Reply) -> Verdict<'c> {
        let Note::Token(checking) = note else { return refuse(None) };
        match reply {
            Reply::Verified(true) => self.admit(seen, &checking.token),
            _ => self.check(*checking),
        }
    }
}

/// RFC 6750, section 3: no error code when there was no token.
fn refuse<'c>(reason: Option<&'static str>) -> Verdict<'c> {
    let challenge = match reason {
        None => "Bearer".to_owned(),
        Some(reason) => format!("Bearer error=\"invalid_token\", error_description=\"{reason}\""),
    };
    let answer = Answer::error(401, reason.unwrap_or("a token is needed"));
    Verdict::Answer(answer.with("WWW-Authenticate", challenge))
}

#[cfg(test)]
mod tests;
