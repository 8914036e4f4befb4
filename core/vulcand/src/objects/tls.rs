//! vulcand's TLS settings, of listeners and of backends. Its names are Go's, and so are its defaults; what nobody should
//! speak any more, and rustls does not, is named instead of done.

use super::ObjectError;
use routing::{ClientCertificates, ListenerTls, ServerTls, TlsVersion};
use serde::{Deserialize, Serialize};

/// `Settings.TLS`. `ClientAuth`, `ClientCAs`, `RootCAs` and `ServerName` are Roadstead's own; they are called as in Go.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsSettings {
    #[serde(rename(serialize = "PreferServerCipherSuites", deserialize = "preferserverciphersuites"))]
    pub prefer_server_cipher_suites: bool,
    #[serde(rename(serialize = "InsecureSkipVerify", deserialize = "insecureskipverify"))]
    pub insecure_skip_verify: bool,
    #[serde(rename(serialize = "SessionTicketsDisabled", deserialize = "sessionticketsdisabled"))]
    pub session_tickets_disabled: bool,
    #[serde(
        rename(serialize = "SessionCache", deserialize = "sessioncache"),
        skip_serializing_if = "SessionCache::is_default"
    )]
    pub session_cache: SessionCache,
    #[serde(rename(serialize = "CipherSuites", deserialize = "ciphersuites"), skip_serializing_if = "Vec::is_empty")]
    pub cipher_suites: Vec<String>,
    #[serde(rename(serialize = "MinVersion", deserialize = "minversion"), skip_serializing_if = "String::is_empty")]
    pub min_version: String,
    #[serde(rename(serialize = "MaxVersion", deserialize = "maxversion"), skip_serializing_if = "String::is_empty")]
    pub max_version: String,
    #[serde(rename(serialize = "ClientAuth", deserialize = "clientauth"), skip_serializing_if = "String::is_empty")]
    pub client_auth: String,
    /// In PEM.
    #[serde(rename(serialize = "ClientCAs", deserialize = "clientcas"), skip_serializing_if = "String::is_empty")]
    pub client_cas: String,
    /// In PEM.
    #[serde(rename(serialize = "RootCAs", deserialize = "rootcas"), skip_serializing_if = "String::is_empty")]
    pub root_cas: String,
    #[serde(rename(serialize = "ServerName", deserialize = "servername"), skip_serializing_if = "String::is_empty")]
    pub server_name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionCache {
    /// `LRU`, or empty.
    #[serde(rename(serialize = "Type", deserialize = "type"), skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(rename(serialize = "Settings", deserialize = "settings"))]
    pub settings: SessionCacheSettings,
}

#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionCacheSettings {
    #[serde(rename(serialize = "Capacity", deserialize = "capacity"))]
    pub capacity: u32,
}

impl SessionCache {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What Go calls versions that nobody should speak any more (RFC 8996).
const OLD_VERSIONS: [&str; 3] = ["VersionSSL30", "VersionTLS10", "VersionTLS11"];

/// Go's names of suites for which there is no other word today: vulcand knows them, and rustls does not speak them.
const OLD_SUITES: [&str; 12] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_FALLBACK_SCSV",
];

/// Those of TLS 1.2 that are spoken.
const SUITES: [&str; 6] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// Go's short names of two of them.
const ALIASES: [(&str, &str); 2] = [
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
];

/// What is asked for, and what of it is not done.
type Read<T> = Result<(T, Vec<String>), ObjectError>;

impl TlsSettings {
    pub fn listener(&self) -> Read<ListenerTls> {
        let ((min_version, max_version), cipher_suites, mut notes) = self.common()?;
        for (field, given) in [("RootCAs", &self.root_cas), ("ServerName", &self.server_name)] {
            if !given.is_empty() {
                notes.push(format!("TLS.{field} has no effect on a listener"));
            }
        }
        let client_certificates = match self.client_auth.as_str() {
            "" | "NoClientCert" => ClientCertificates::No,
            "VerifyClientCertIfGiven" => ClientCertificates::IfGiven,
            "RequireAndVerifyClientCert" => ClientCertificates::Required,
            // A certificate that nobody checks says nothing.
            other => return Err(unsupported("TLS.ClientAuth", other)),
        };
        if client_certificates != ClientCertificates::No && self.client_cas.is_empty() {
            return Err(ObjectError::Missing { field: "TLS.ClientCAs" });
        }
        let session_cache = match self.session_cache.kind.as_str() {
            "" => None,
            "LRU" => Some(self.session_cache.settings.capacity),
            other => return Err(unsupported("TLS.SessionCache.Type", other)),
        };
        let settings = ListenerTls {
            min_version,
            max_version,
            cipher_suites,
            prefers_own_order: self.prefer_server_cipher_suites,
            tickets_disabled: self.session_tickets_disabled,
            session_cache,
            client_certificates,
            client_authorities: self.client_cas.clone(),
        };
        Ok((settings, notes))
    }

    pub fn servers(&self) -> Read<ServerTls> {
        let ((min_version, max_version), cipher_suites, mut notes) = self.common()?;
        if !self.client_auth.is_empty() || !self.client_cas.is_empty() {
            notes.push("TLS.ClientAuth and TLS.ClientCAs have no effect on a backend".to_owned());
        }
        let settings = ServerTls {
            insecure_skip_verify: self.insecure_skip_verify,
            min_version,
            max_version,
            cipher_suites,
            authorities: self.root_cas.clone(),
            server_name: self.server_name.clone(),
        };
        Ok((settings, notes))
    }

    #[expect(clippy::type_complexity, reason = "taken apart at once")]
    fn common(&self) -> Result<((Option<TlsVersion>, Option<TlsVersion>), Vec<String>, Vec<String>), ObjectError> {
        let mut notes = Vec::new();
        let mut min_version = match self.min_version.as_str() {
            old if OLD_VERSIONS.contains(&old) => {
                notes.push(format!("TLS.MinVersion {old:?}: VersionTLS12 is the oldest that is spoken"));
                None
            }
            other => version("TLS.MinVersion", other)?,
        };
        let max_version = version("TLS.MaxVersion", &self.max_version)?;
        if let (Some(min), Some(max)) = (min_version, max_version)
            && min > max
        {
            return Err(unsupported("TLS.MaxVersion", &self.max_version));
        }
        let mut suites = Vec::new();
        for name in &self.cipher_suites {
            let name = ALIASES.iter().find(|(short, _)| short == name).map_or(name.as_str(), |(_, long)| long);
            match name {
                known if SUITES.contains(&known) => suites.push(known.to_owned()),
                old if OLD_SUITES.contains(&old) => notes.push(format!("TLS.CipherSuites: {old} is not spoken")),
                other => return Err(unsupported("TLS.CipherSuites", other)),
            }
        }
        if suites.is_empty() && !self.cipher_suites.is_empty() {
            if max_version == Some(TlsVersion::Tls12) {
                return Err(unsupported("TLS.CipherSuites", &self.cipher_suites.join(" ")));
            }
            // None of those that were asked for is spoken in 1.2.
            min_version = Some(TlsVersion::Tls13);
        }
        Ok(((min_version, max_version), suites, notes))
    }
}

fn version(field: &'static str, text: &str) -> Result<Option<TlsVersion>, ObjectError> {
    match text {
        "" => Ok(None),
        "VersionTLS12" => Ok(Some(TlsVersion::Tls12)),
        "VersionTLS13" => Ok(Some(TlsVersion::Tls13)),
        other => Err(unsupported(field, other)),
    }
}

fn unsupported(field: &'static str, found: &str) -> ObjectError {
    ObjectError::Unsupported { field, found: found.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: &str) -> TlsSettings {
        crate::json::read(json.as_bytes()).unwrap()
    }

    #[test]
    fn vulcands_settings_mean_what_they_say_or_are_named() {
        let (tls, notes) = settings("{}").listener().unwrap();
        assert_eq!((tls, notes.len()), (ListenerTls::default(), 0));
        let json = r#"{"MinVersion":"VersionTLS10","MaxVersion":"VersionTLS12","PreferServerCipherSuites":true,
            "SessionTicketsDisabled":true,"SessionCache":{"Type":"LRU","Settings":{"Capacity":7}},
            "CipherSuites":["TLS_RSA_WITH_AES_256_CBC_SHA","TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]}"#;
        let (tls, notes) = settings(json).listener().unwrap();
        assert_eq!((tls.min_version, tls.max_version), (None, Some(TlsVersion::Tls12)));
        assert_eq!(tls.cipher_suites, ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]);
        assert!(tls.prefers_own_order && tls.tickets_disabled && tls.session_cache == Some(7));
        assert!(notes[0].contains("MinVersion") && notes[1].contains("TLS_RSA_WITH_AES_256_CBC_SHA"), "{notes:?}");
        let json = r#"{"InsecureSkipVerify":true,"MinVersion":"VersionTLS13","ServerName":"a"}"#;
        let (tls, notes) = settings(json).servers().unwrap();
        assert!(tls.insecure_skip_verify && tls.server_name == "a" && notes.is_empty());
    }

    #[test]
    fn what_cannot_be_spoken_is_refused_by_its_field() {
        for (json, field) in [
            (r#"{"MaxVersion":"VersionTLS11"}"#, "TLS.MaxVersion"),
            (r#"{"MinVersion":"TLS1.2"}"#, "TLS.MinVersion"),
            (r#"{"MinVersion":"VersionTLS13","MaxVersion":"VersionTLS12"}"#, "TLS.MaxVersion"),
            (r#"{"CipherSuites":["x"]}"#, "TLS.CipherSuites"),
            (r#"{"MaxVersion":"VersionTLS12","CipherSuites":["TLS_RSA_WITH_RC4_128_SHA"]}"#, "TLS.CipherSuites"),
            (r#"{"ClientAuth":"RequireAnyClientCert"}"#, "TLS.ClientAuth"),
            (r#"{"ClientAuth":"RequireAndVerifyClientCert"}"#, "TLS.ClientCAs"),
            (r#"{"SessionCache":{"Type":"disk"}}"#, "TLS.SessionCache.Type"),
        ] {
            let error = settings(json).listener().unwrap_err().to_string();
            assert!(error.contains(field), "{json}: {error}");
        }
    }
}
