//! vulcand's hosts: a name and its certificate.

use super::{ObjectError, is_default, timeout};
use routing::certificate::OcspSpec;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// `/vulcand/hosts/<name>/host`
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    #[serde(rename(serialize = "Name", deserialize = "name"))]
    pub name: String,
    #[serde(rename(serialize = "Settings", deserialize = "settings"))]
    pub settings: HostSettings,
}

#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HostSettings {
    /// Shown to clients that ask for no name, or for an unknown one.
    #[serde(rename(serialize = "Default", deserialize = "default"))]
    pub default: bool,
    /// Sealed (`secretbox.v1`), in base64; empty: there is none.
    #[serde(rename(serialize = "KeyPair", deserialize = "keypair"), skip_serializing_if = "String::is_empty")]
    pub key_pair: String,
    /// vulcand's engines do not keep it either.
    #[serde(rename(serialize = "AutoCert", deserialize = "autocert"), skip_serializing_if = "Option::is_none")]
    pub auto_cert: Option<Value>,
    #[serde(rename(serialize = "OCSP", deserialize = "ocsp"), skip_serializing_if = "is_default")]
    pub ocsp: HostOcsp,
}

/// Whether what the authority says of the certificate goes along in handshakes.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HostOcsp {
    #[serde(rename(serialize = "Enabled", deserialize = "enabled"))]
    pub enabled: bool,
    /// Until it is asked again; empty: an hour.
    #[serde(rename(serialize = "Period", deserialize = "period"), skip_serializing_if = "String::is_empty")]
    pub period: String,
    #[serde(rename(serialize = "Responders", deserialize = "responders"), skip_serializing_if = "Vec::is_empty")]
    pub responders: Vec<String>,
    #[serde(rename(serialize = "SkipSignatureCheck", deserialize = "skipsignaturecheck"))]
    pub skip_signature_check: bool,
}

impl Host {
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, ObjectError> {
        let host: Self = super::read(bytes).map_err(|error| match error {
            // serde quotes what it did not expect, which may be a key in the clear.
            ObjectError::Json(_) => ObjectError::Host,
            other => other,
        })?;
        host.ocsp()?;
        Ok(Self { name: name.to_owned(), ..host })
    }

    /// How its authority is asked, if it is to be.
    pub fn ocsp(&self) -> Result<Option<OcspSpec>, ObjectError> {
        let HostOcsp { enabled, period, responders, skip_signature_check } = &self.settings.ocsp;
        if !enabled {
            return Ok(None);
        }
        let period_s = timeout("Settings.OCSP.Period", period)?.map_or(0, |period| period.as_secs().max(1));
        let (responders, skip_signature_check) = (responders.clone(), *skip_signature_check);
        Ok(Some(OcspSpec { period_s, responders, skip_signature_check }))
    }

    /// What is asked for and not done.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.settings.auto_cert.is_some() {
            notes.push("AutoCert has no effect: certificates are asked for by the label roadstead.https".to_owned());
        }
        notes
    }
}

impl fmt::Debug for HostSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostSettings").field("default", &self.default).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_sealed_key_or_none_and_says_nothing_of_it() {
        let json = br#"{"Name":"other","Settings":{"Default":true,"KeyPair":"c2VhbGVk","OCSP":{"Enabled":true}}}"#;
        let host = Host::parse("a.example", json).unwrap();
        assert_eq!((host.name.as_str(), host.settings.default), ("a.example", true));
        assert_eq!((host.settings.key_pair.as_str(), host.notes().len()), ("c2VhbGVk", 0));
        assert_eq!(host.ocsp().unwrap(), Some(OcspSpec::default()));
        assert!(!format!("{host:?}").contains("c2VhbGVk"));
        assert!(Host::parse("a", b"{}").unwrap().settings.key_pair.is_empty());
        let asked = br#"{"Settings":{"OCSP":{"Enabled":true,"Period":"90s","Responders":["http://a"],"SkipSignatureCheck":true}}}"#;
        let spec = OcspSpec { period_s: 90, responders: vec!["http://a".to_owned()], skip_signature_check: true };
        assert_eq!(Host::parse("a", asked).unwrap().ocsp().unwrap(), Some(spec));
        let wrong = br#"{"Settings":{"OCSP":{"Enabled":true,"Period":"soon"}}}"#;
        assert!(matches!(Host::parse("a", wrong), Err(ObjectError::Duration { .. })));
        let clear = br#"{"Settings":{"KeyPair":{"Key":"c2VjcmV0","Cert":""}}}"#;
        let error = Host::parse("a", clear).unwrap_err();
        assert!(error.to_string().contains("sealed") && !format!("{error:?}").contains("c2VjcmV0"));
    }
}
