//! `iplist`: which addresses may ask; 403 for the others. What is denied is denied even where it is allowed; an empty
//! `Allow` allows every other address.

use crate::answer::Answer;
use crate::spec::{Fields, SpecError};
use crate::step::{Seen, Step, Verdict};
use routing::Network;

#[derive(Debug)]
pub(crate) struct IpList {
    allow: Vec<Network>,
    deny: Vec<Network>,
}

impl IpList {
    pub fn read(mut fields: Fields) -> Result<Self, SpecError> {
        let list = Self { allow: networks(&mut fields, "Allow")?, deny: networks(&mut fields, "Deny")? };
        fields.done()?;
        if list.allow.is_empty() && list.deny.is_empty() {
            return Err(SpecError::new("Allow", "neither Allow nor Deny has an address"));
        }
        Ok(list)
    }
}

fn networks(fields: &mut Fields, name: &'static str) -> Result<Vec<Network>, SpecError> {
    let texts = fields.texts(name)?;
    texts.iter().map(|text| Network::parse(text).map_err(|message| fields.error(name, message))).collect()
}

impl Step for IpList {
    fn request<'c>(&'c self, seen: &mut Seen<'_, 'c>) -> Verdict<'c> {
        let client = seen.request.client;
        let within = |networks: &[Network]| networks.iter().any(|network| network.contains(client));
        if within(&self.deny) || !(self.allow.is_empty() || within(&self.allow)) {
            return Verdict::Answer(Answer::error(403, "this address may not ask"));
        }
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{answer_at, at, chain, refusal, request};
    use serde_json::json;

    #[test]
    fn denied_wins_over_allowed() {
        let chain = chain("iplist", json!({"Allow": ["10.0.0.0/8", "2001:db8::/32"], "Deny": ["10.1.2.3"]}));
        let none: [(&str, &str); 0] = [];
        for (client, allowed) in [
            ("10.1.2.4", true),
            ("10.1.2.3", false),
            ("::ffff:10.9.9.9", true),
            ("192.0.2.7", false),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
        ] {
            let request = crate::Request { client: client.parse().unwrap(), ..request("GET", "/", &none) };
            let answer = answer_at(&chain, &request, at(0));
            assert_eq!(
                answer.as_ref().map_or(200, |answer| answer.status),
                if allowed { 200 } else { 403 },
                "{client}"
            );
        }
    }

    #[test]
    fn lists_that_would_do_nothing_or_hold_no_networks_are_refused() {
        assert!(refusal("iplist", json!({})).starts_with("Allow"));
        assert!(refusal("iplist", json!({"Deny": ["10.0.0.0/33"]})).starts_with("Deny"));
        assert!(refusal("iplist", json!({"Deny": ["somewhere"]})).starts_with("Deny"));
    }
}
