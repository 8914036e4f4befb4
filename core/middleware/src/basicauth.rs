//! `basicauth`: a name and a password (RFC 7617) out of an htpasswd list; 401 for others. `auth`: the one of vulcand's
//! tutorial, with one name and password in clear, and 403.
//!
//! Whoever asks with a name that is not listed is checked against the first listed password and refused whatever comes
//! out, so that time does not tell which names there are.

use crate::answer::Answer;
use crate::edits::HeaderEdit;
use crate::headers::{is_name, is_value};
use crate::question::{Question, Reply, StoredPassword};
use crate::spec::{Fields, SpecError};
use crate::step::{Note, Seen, Step, Verdict};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bytes of one name or password.
const CREDENTIAL_BYTES_MAX: usize = 1024;
/// A bcrypt hash: `$2y$`, two digits of cost, `$`, 53 of its base64.
const BCRYPT_BYTES: usize = 60;
/// Each step doubles the time: 15 takes about two seconds.
const BCRYPT_COST_MAX: u32 = 15;

#[derive(Debug)]
pub(crate) struct BasicAuth {
    users: Vec<(String, StoredPassword)>,
    refusal: Refusal,
    /// Where the server reads the name.
    user_header: Option<String>,
    /// The password goes no further.
    remove_credentials: bool,
}

#[derive(Debug)]
enum Refusal {
    Unauthorized { challenge: String },
    Forbidden,
}

impl BasicAuth {
    pub fn read(mut fields: Fields) -> Result<Self, SpecError> {
        let mut users: Vec<(String, StoredPassword)> = Vec::new();
        for line in fields.texts("Users")? {
            let user = read_user(&line).map_err(|message| fields.error("Users", message))?;
            if users.iter().any(|(name, _)| *name == user.0) {
                return Err(fields.error("Users", format!("{:?} is listed twice", user.0)));
            }
            users.push(user);
        }
        if users.is_empty() {
            return Err(fields.error("Users", "nobody is listed"));
        }
        let realm = fields.text("Realm")?;
        let realm = if realm.is_empty() { "restricted" } else { &realm };
        if !is_value(realm) || realm.contains(['"', '\\']) {
            return Err(fields.error("Realm", "cannot be quoted"));
        }
        let user_header = fields.text("UserHeader")?;
        if !user_header.is_empty() && !is_name(&user_header) {
            return Err(fields.error("UserHeader", format!("{user_header:?} cannot be a header's name")));
        }
        let remove_credentials = fields.flag("RemoveCredentials")?;
        fields.done()?;
        let challenge = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
        let user_header = Some(user_header).filter(|name| !name.is_empty());
        Ok(Self { users, refusal: Refusal::Unauthorized { challenge }, user_header, remove_credentials })
    }

    pub fn read_vulcands(mut fields: Fields) -> Result<Self, SpecError> {
        let name = fields.required_text("Username")?;
        let password = fields.required_text("Password")?;
        let users = vec![(name, StoredPassword::Plain(password.into_bytes()))];
        Ok(Self { users, refusal: Refusal::Forbidden, user_header: None, remove_credentials: false })
    }

    fn refuse<'c>(&self) -> Verdict<'c> {
        Verdict::Answer(match &self.refusal {
            Refusal::Unauthorized { challenge } => {
                Answer::error(401, "a name and its password are needed").with("WWW-Authenticate", challenge.as_str())
            }
            Refusal::Forbidden => Answer::error(403, "a name and its password are needed"),
        })
    }
}

/// `name:$2y$…`, `name:{SHA}…`, `name:{PLAIN}…`
fn read_user(line: &str) -> Result<(String, StoredPassword), String> {
    let (name, stored) = line.trim().split_once(':').ok_or("expected NAME:HASH")?;
    if name.is_empty() || !is_value(name) {
        return Err(format!("{name:?} cannot be a name"));
    }
    let stored = if ["$2a$", "$2b$", "$2y$"].iter().any(|known| stored.starts_with(known)) {
        let cost = stored.get(4..6).and_then(|cost| cost.parse::<u32>().ok());
        let shape = stored.len() == BCRYPT_BYTES && stored.is_ascii() && stored.get(6..7) == Some("$");
        if !shape || !cost.is_some_and(|cost| (4..=BCRYPT_COST_MAX).contains(&cost)) {
            return Err(format!("{name}: no bcrypt hash of a cost from 4 to {BCRYPT_COST_MAX}"));
        }
        StoredPassword::Bcrypt(stored.to_owned())
    } else if let Some(hash) = stored.strip_prefix("{SHA}") {
        let hash = STANDARD.decode(hash).ok().and_then(|hash| hash.try_into().ok());
        StoredPassword::Sha1(hash.ok_or_else(|| format!("{name}: no SHA-1 in base64"))?)
    } else if let Some(password) = stored.strip_prefix("{PLAIN}").filter(|password| !password.is_empty()) {
        StoredPassword::Plain(password.as_bytes().to_vec())
    } else {
        return Err(format!("{name}: expected a bcrypt hash (htpasswd -B), {{SHA}} or {{PLAIN}}"));
    };
    Ok((name.to_owned(), stored))
}

/// Name and password out of an `Authorization` field.
fn read_credentials(field: &[u8]) -> Option<(String, Vec<u8>)> {
    let text = std::str::from_utf8(field).ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
    let encoded = encoded.trim();
    if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > CREDENTIAL_BYTES_MAX * 3 {
        return None;
    }
    let decoded = STANDARD.decode(encoded).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (name, password) = (&decoded[..colon], &decoded[colon + 1..]);
    let fits = name.len() <= CREDENTIAL_BYTES_MAX && password.len() <= CREDENTIAL_BYTES_MAX;
    let name = std::str::from_utf8(name).ok().filter(|_| fits)?;
    Some((name.to_owned(), password.to_vec()))
}

impl Step for BasicAuth {
    fn request<'c>(&'c self, seen: &mut Seen<'_, 'c>) -> Verdict<'c> {
        let credentials = seen.header("Authorization").and_then(read_credentials);
        let Some((name, password)) = credentials else { return self.refuse() };
        match self.users.iter().find(|(known, _)| *known == name) {
            Some((_, stored)) => Verdict::Ask(Question::Password { stored, password }, Note::User(name)),
            None => Verdict::Ask(Question::Password { stored: &self.users[0].1, password }, Note::None),
        }
    }

    fn resume<'c>(&'c self, seen: &mut Seen<'_, 'c>, note: Note, reply: Reply) -> Verdict<'c> {
        let (Note::User(name), Reply::Verified(true)) = (note, reply) else { return self.refuse() };
        if self.remove_credentials {
            seen.edit(HeaderEdit::remove("Authorization"));
        }
        if let Some(header) = &self.user_header {
            seen.edit(HeaderEdit::set(header, name.into_bytes()));
        }
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{answer, at, chain, field, refusal, request};
    use crate::{Chain, Decision};
    use proptest::prelude::*;
    use serde_json::json;

    const BCRYPT: &str = "$2y$05$WuJVLRR5Q1wPb2gqKSv3VeJYqOIbxSoCfLb1JRxBqcqyGgzV0i1Ue";

    fn users() -> Chain {
        let users = json!([format!("ann:{BCRYPT}"), "bob:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=", "cy:{PLAIN}a:b"]);
        chain("basicauth", json!({"Users": users, "Realm": "here", "UserHeader": "X-User", "RemoveCredentials": true}))
    }

    fn authorization(credentials: &str) -> String {
        format!("Basic {}", STANDARD.encode(credentials))
    }

    /// What is asked, and what is decided once it is verified or not.
    fn ask(chain: &Chain, credentials: &str, verified: bool) -> (String, Result<String, u16>) {
        let value = authorization(credentials);
        let headers = [("authorization", value.as_str())];
        let request = request("GET", "/", &headers);
        let Decision::Ask(asking) = chain.before(&request, at(0)) else { panic!("nothing is asked") };
        let Question::Password { stored, password } = asking.question() else { panic!() };
        let asked = match stored {
            StoredPassword::Bcrypt(hash) => hash.clone(),
            StoredPassword::Sha1(hash) => format!("{:02x}{:02x}", hash[0], hash[1]),
            StoredPassword::Plain(plain) => (plain == password).to_string(),
        };
        match asking.resume(Reply::Verified(verified), &request, at(0)) {
            Decision::Continue(passage) => {
                let mut lines = Vec::new();
                passage.edits.each(request.headers, &mut |name, value| {
                    lines.push(format!("{name}: {}", String::from_utf8_lossy(value)));
                });
                (asked, Ok(lines.join(", ")))
            }
            Decision::Answer(answer) => (asked, Err(answer.status)),
            Decision::Ask(_) => panic!("asked twice"),
        }
    }

    #[test]
    fn whoever_knows_the_password_passes_under_their_name() {
        let chain = users();
        assert_eq!(ask(&chain, "ann:secret", true), (BCRYPT.to_owned(), Ok("X-User: ann".to_owned())));
        assert_eq!(ask(&chain, "ann:wrong", false), (BCRYPT.to_owned(), Err(401)));
        assert_eq!(ask(&chain, "bob:test", true), ("a94a".to_owned(), Ok("X-User: bob".to_owned())));
        assert_eq!(ask(&chain, "cy:a:b", true), ("true".to_owned(), Ok("X-User: cy".to_owned())));
    }

    #[test]
    fn a_name_that_is_not_listed_costs_a_check_and_never_passes() {
        assert_eq!(ask(&users(), "mallory:secret", true), (BCRYPT.to_owned(), Err(401)));
    }

    #[test]
    fn without_credentials_the_client_is_asked_for_them() {
        let chain = users();
        for value in ["", "Basic", "Basic !", "Bearer abc", "Basic YWJj"] {
            let headers = [("Authorization", value)];
            let answer = answer(&chain, &request("GET", "/", &headers));
            let challenge = field(&answer, "www-authenticate");
            assert_eq!((answer.status, challenge), (401, Some("Basic realm=\"here\", charset=\"UTF-8\"")), "{value}");
        }
    }

    #[test]
    fn vulcands_tutorial_answers_403() {
        let chain = chain("auth", json!({"Username": "ann", "Password": "secret"}));
        assert_eq!(answer(&chain, &request("GET", "/", &[("a", "b")])).status, 403);
        assert_eq!(ask(&chain, "ann:secret", true).0, "true");
        assert_eq!(ask(&chain, "ann:wrong", false), ("false".to_owned(), Err(403)));
    }

    #[test]
    fn lines_that_protect_nothing_are_refused() {
        for users in [
            json!([]),
            json!(["ann"]),
            json!(["ann:"]),
            json!([":{PLAIN}x"]),
            json!(["ann:{PLAIN}"]),
            json!(["ann:{SHA}abc"]),
            json!(["ann:$apr1$x$y"]),
            json!(["ann:$2y$31$WuJVLRR5Q1wPb2gqKSv3VeJYqOIbxSoCfLb1JRxBqcqyGgzV0i1Ue"]),
            json!(["ann:$2y$05$short"]),
            json!(["ann:{PLAIN}x", "ann:{PLAIN}y"]),
        ] {
            assert!(refusal("basicauth", json!({"Users": users})).starts_with("Users"), "{users}");
        }
    }

    proptest! {
        #[test]
        fn any_field_is_safe(field in proptest::collection::vec(any::<u8>(), 0..80), text in ".{0,40}") {
            let _either = read_credentials(&field);
            let _either = read_credentials(authorization(&text).as_bytes());
            let _either = read_user(&text);
        }
    }
}
