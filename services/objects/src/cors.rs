//! Cross-origin access: a bucket's rules, and what they make of a request. Pure.

use crate::fault::{Fault, Result};
use crate::limits::{CORS_BYTES_MAX, CORS_RULES_MAX};
use crate::xml::{self, Xml};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;

/// The name of the rules among a bucket's documents.
pub const DOCUMENT: &str = "cors";

const VARIES: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Headers, Access-Control-Request-Method");

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Rules {
    #[serde(rename = "CORSRule", default)]
    rules: Vec<Rule>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Rule {
    #[serde(rename = "ID")]
    id: Option<String>,
    #[serde(rename = "AllowedOrigin", default)]
    origins: Vec<String>,
    #[serde(rename = "AllowedMethod", default)]
    methods: Vec<String>,
    #[serde(rename = "AllowedHeader", default)]
    headers: Vec<String>,
    #[serde(rename = "ExposeHeader", default)]
    exposed: Vec<String>,
    max_age_seconds: Option<u32>,
}

impl Rules {
    pub fn parse(document: &[u8]) -> Result<Self> {
        if document.len() > CORS_BYTES_MAX {
            return Err(Fault::malformed_xml());
        }
        let rules: Self = xml::parse(document)?;
        if rules.rules.is_empty() || rules.rules.len() > CORS_RULES_MAX {
            return Err(Fault::malformed_xml());
        }
        for rule in &rules.rules {
            if rule.origins.is_empty() || rule.methods.is_empty() {
                return Err(Fault::malformed_xml());
            }
            if let Some(method) = rule.methods.iter().find(|method| !ALLOWABLE.contains(&method.as_str())) {
                let message = format!("Found unsupported HTTP method in CORS config. Unsupported method is {method}");
                return Err(Fault::invalid_request(message));
            }
            let patterns = rule.origins.iter().chain(&rule.headers);
            if let Some(pattern) = patterns.clone().find(|pattern| pattern.matches('*').count() > 1) {
                let message = format!("\"{pattern}\" can not have more than one wildcard.");
                return Err(Fault::invalid_request(message));
            }
        }
        Ok(rules)
    }

    pub fn to_xml(&self) -> String {
        Xml::document("CORSConfiguration", |xml| {
            for rule in &self.rules {
                xml.group("CORSRule", |xml| {
                    rule.id.iter().for_each(|id| xml.text("ID", id));
                    rule.origins.iter().for_each(|origin| xml.text("AllowedOrigin", origin));
                    rule.methods.iter().for_each(|method| xml.text("AllowedMethod", method));
                    rule.headers.iter().for_each(|header| xml.text("AllowedHeader", header));
                    rule.exposed.iter().for_each(|header| xml.text("ExposeHeader", header));
                    rule.max_age_seconds.iter().for_each(|age| xml.text("MaxAgeSeconds", age.to_string()));
                });
            }
        })
    }

    /// The answer to a preflight. It carries no credentials: the rules alone decide.
    pub fn preflight(rules: Option<&Self>, headers: &HeaderMap) -> Result<HeaderMap> {
        let missing = "Insufficient information. Origin request header needed.";
        let origin = text(headers, &ORIGIN).ok_or_else(|| Fault::new(400, "BadRequest", missing))?;
        let invalid = "Invalid Access-Control-Request-Method";
        let method = text(headers, &ACCESS_CONTROL_REQUEST_METHOD);
        let method = method.ok_or_else(|| Fault::new(400, "BadRequest", invalid))?;
        let rules = rules.ok_or_else(Fault::cors_forbidden)?;
        let requested = text(headers, &ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        let requested: Vec<String> = requested
            .split(',')
            .map(|header| header.trim().to_ascii_lowercase())
            .filter(|header| !header.is_empty())
            .collect();
        let matching = rules.rules.iter().filter(|rule| rule.allows(origin, method));
        let rule = matching.into_iter().find(|rule| requested.iter().all(|header| rule.allows_header(header)));
        let rule = rule.ok_or_else(Fault::cors_forbidden)?;
        let mut answer = rule.answer(origin);
        insert(&mut answer, ACCESS_CONTROL_ALLOW_HEADERS, &requested.join(", "));
        if let Some(age) = rule.max_age_seconds {
            insert(&mut answer, ACCESS_CONTROL_MAX_AGE, &age.to_string());
        }
        Ok(answer)
    }

    pub fn allow(&self, origin: &str, method: &http::Method) -> bool {
        self.rules.iter().any(|rule| rule.allows(origin, method.as_str()))
    }

    /// What an actual answer, good or bad, carries for a page of `Origin`.
    pub fn actual(&self, method: &http::Method, headers: &HeaderMap) -> HeaderMap {
        let rule = text(headers, &ORIGIN).and_then(|origin| {
            let rule = self.rules.iter().find(|rule| rule.allows(origin, method.as_str()))?;
            Some(rule.answer(origin))
        });
        let mut answer = rule.unwrap_or_default();
        // Said without an Origin, too: a cache must not give one site's answer to another.
        answer.insert(VARY, VARIES);
        answer
    }
}

const ALLOWABLE: &[&str] = &["GET", "PUT", "POST", "DELETE", "HEAD"];

impl Rule {
    fn allows(&self, origin: &str, method: &str) -> bool {
        self.methods.iter().any(|allowed| allowed == method)
            && self.origins.iter().any(|pattern| matches(pattern, origin))
    }

    fn allows_header(&self, header: &str) -> bool {
        self.headers.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), header))
    }

    fn answer(&self, origin: &str) -> HeaderMap {
        let mut answer = HeaderMap::new();
        if self.origins.iter().any(|pattern| pattern == "*") {
            insert(&mut answer, ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        } else {
            insert(&mut answer, ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            insert(&mut answer, ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        insert(&mut answer, ACCESS_CONTROL_ALLOW_METHODS, &self.methods.join(", "));
        insert(&mut answer, ACCESS_CONTROL_EXPOSE_HEADERS, &self.exposed.join(", "));
        answer.insert(VARY, VARIES);
        answer
    }
}

/// One `*` stands for anything.
fn matches(pattern: &str, value: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == value,
        Some((start, end)) => {
            value.len() >= start.len() + end.len() && value.starts_with(start) && value.ends_with(end)
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn insert(headers: &mut HeaderMap, name: http::HeaderName, value: &str) {
    if !value.is_empty()
        && let Ok(value) = HeaderValue::try_from(value)
    {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    const RULES: &[u8] = b"<CORSConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">
        <CORSRule><AllowedOrigin>http://*.pics</AllowedOrigin><AllowedMethod>PUT</AllowedMethod>
        <AllowedHeader>x-amz-*</AllowedHeader><AllowedHeader>Authorization</AllowedHeader>
        <ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule>
        <CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>";

    #[test]
    fn a_preflight_is_decided_by_the_first_rule_that_allows_all_of_it() {
        let rules = Rules::parse(RULES).unwrap();
        let asked = headers(&[
            ("origin", "http://s3.pics"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "authorization, X-Amz-Date"),
        ]);
        let answer = Rules::preflight(Some(&rules), &asked).unwrap();
        assert_eq!(answer[ACCESS_CONTROL_ALLOW_ORIGIN], "http://s3.pics");
        assert_eq!(answer[ACCESS_CONTROL_ALLOW_HEADERS], "authorization, x-amz-date");
        assert_eq!(answer[ACCESS_CONTROL_MAX_AGE], "60");
        for (origin, method, requested) in
            [("http://other", "PUT", ""), ("http://s3.pics", "DELETE", ""), ("http://s3.pics", "PUT", "content-type")]
        {
            let asked = headers(&[
                ("origin", origin),
                ("access-control-request-method", method),
                ("access-control-request-headers", requested),
            ]);
            assert_eq!(Rules::preflight(Some(&rules), &asked).unwrap_err().code, "AccessForbidden");
        }
        let actual = rules.actual(&http::Method::GET, &headers(&[("origin", "http://other")]));
        assert_eq!(actual[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(rules.actual(&http::Method::PUT, &headers(&[])).contains_key(VARY));
    }

    #[test]
    fn rules_are_read_back_as_they_were_and_bad_ones_refused() {
        let rules = Rules::parse(RULES).unwrap();
        assert_eq!(Rules::parse(rules.to_xml().as_bytes()).unwrap(), rules);
        let refused = |text: &str| Rules::parse(text.as_bytes()).unwrap_err().code;
        assert_eq!(refused("nonsense"), "MalformedXML");
        assert_eq!(refused("<CORSConfiguration/>"), "MalformedXML");
        let rule = |method: &str, origin: &str| {
            format!(
                "<CORSConfiguration><CORSRule><AllowedOrigin>{origin}</AllowedOrigin><AllowedMethod>{method}</AllowedMethod></CORSRule></CORSConfiguration>"
            )
        };
        assert_eq!(refused(&rule("PATCH", "*")), "InvalidRequest");
        assert_eq!(refused(&rule("GET", "*a*")), "InvalidRequest");
    }
}
