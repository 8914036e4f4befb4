//! A certificate in the store: one JSON value under `/roadstead/certificates/<id>`. The private key is sealed; this crate
//! does not open it. Version 0: may change without a migration before the first release.

use serde::{Deserialize, Serialize};

/// Where certificate documents live in the store; an id follows.
pub const CERTIFICATES_PREFIX: &str = "/roadstead/certificates/";

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateDocument {
    /// The format's version: 0.
    pub v: u32,
    /// Hosts that it is shown for, e.g. `a.example` or `*.a.example`.
    pub names: Vec<String>,
    /// `identity::KeyPair`, sealed with the cluster's seal key in vulcand's form.
    pub sealed: String,
    /// When it begins, in seconds since 1970; 0: not said.
    #[serde(default, skip_serializing_if = "is_default")]
    pub not_before_s: i64,
    /// When it ends.
    pub not_after_s: i64,
    pub issuer: CertificateIssuer,
    /// Shown to clients that ask for no name, or for one that no certificate has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// What the authority says of it goes along in the handshake; none: it does not, unless the certificate asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ocsp: Option<OcspSpec>,
}

/// How an authority is asked what it says of a certificate (OCSP).
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OcspSpec {
    /// Seconds until it is asked again; 0: an hour.
    #[serde(skip_serializing_if = "is_default")]
    pub period_s: u64,
    /// URLs of those who are asked instead of whom the certificate names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub responders: Vec<String>,
    /// Whoever signed the response is believed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub skip_signature_check: bool,
}

/// Where a certificate is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CertificateIssuer {
    /// Asked for by the cluster, which renews it.
    Acme,
    /// Put there by a person.
    Given,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl std::fmt::Debug for CertificateDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateDocument").field("names", &self.names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_written_as_it_is_read() {
        let text = r#"{"v":0,"names":["a.example"],"sealed":"c2VhbGVk","not_after_s":1800000000,"issuer":"acme"}"#;
        let document: CertificateDocument = serde_json::from_str(text).unwrap();
        assert_eq!((document.issuer, document.default), (CertificateIssuer::Acme, false));
        assert_eq!(serde_json::to_string(&document).unwrap(), text);
        assert!(!format!("{document:?}").contains("c2VhbGVk"));
        let stapled = text.replace("}", r#","ocsp":{"period_s":60}}"#);
        let document: CertificateDocument = serde_json::from_str(&stapled).unwrap();
        assert_eq!(
            (document.ocsp.as_ref().unwrap().period_s, serde_json::to_string(&document).unwrap()),
            (60, stapled)
        );
        assert!(serde_json::from_str::<CertificateDocument>(&text.replace("names", "hosts")).is_err());
    }
}
