//! The key pairs of hosts: they come in the clear, are checked and sealed, and are shown without their private keys.

use crate::failure::Failure;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use identity::{KeyPair, SealKey};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde_json::{Value, json};
use vulcand::shape::Object;

const SETTINGS: &str = "Settings";
const KEY_PAIR: &str = "KeyPair";
const PATH: &str = "Settings.KeyPair";

/// What became of the key pair in a request.
enum Given {
    /// `null`: the host shall have none.
    None,
    /// Not said, or said as it was shown, without its key: it stays.
    AsBefore {
        cert: Vec<u8>,
    },
    /// As `vctl secret seal_keypair` makes it.
    Sealed(String),
    Clear(KeyPair),
}

/// Puts the sealed key pair that `host` shall have by what was `asked` into its settings; `stored` is the host as it was.
pub(crate) fn seal(host: &mut Object, asked: &Object, stored: &Object, key: Option<&SealKey>) -> Result<(), Failure> {
    let before = stored.get(SETTINGS).and_then(|settings| get(settings, KEY_PAIR)).and_then(Value::as_str);
    let no_key = || Failure::field(PATH, "no seal key is known here, and a private key is never stored in the clear");
    let sealed = match given(asked)? {
        Given::None => None,
        Given::AsBefore { cert } => {
            let opened = before.zip(key).and_then(|(sealed, key)| key.open_key_pair(sealed).ok());
            let is_same = cert.is_empty() || opened.is_some_and(|pair| pair.cert == cert);
            if !is_same {
                return Err(Failure::field(PATH, "another certificate needs its Key"));
            }
            before.map(str::to_owned)
        }
        Given::Sealed(sealed) => {
            let pair = key.ok_or_else(no_key)?.open_key_pair(&sealed);
            check(&pair.map_err(|error| Failure::field(PATH, error.to_string()))?)?;
            Some(sealed)
        }
        Given::Clear(pair) => {
            check(&pair)?;
            let sealed = key.ok_or_else(no_key)?.seal_key_pair(&pair);
            Some(sealed.map_err(|error| Failure::field(PATH, error.to_string()))?)
        }
    };
    if let Some(Value::Object(settings)) = host.get_mut(SETTINGS) {
        settings.remove(KEY_PAIR);
    }
    if let Some(sealed) = sealed {
        let settings = host.entry(SETTINGS).or_insert_with(|| json!({}));
        if let Value::Object(settings) = settings {
            settings.insert(KEY_PAIR.to_owned(), Value::String(sealed));
        }
    }
    let account_key =
        host.get(SETTINGS).and_then(|settings| settings.get("AutoCert")).and_then(|auto| get(auto, "Key"));
    match account_key.and_then(Value::as_str) {
        None | Some("") => Ok(()),
        Some(_) => Err(Failure::field("Settings.AutoCert.Key", "the cluster has an account of its own")),
    }
}

/// The certificate is for anybody to see, its key is not.
pub(crate) fn redact(host: &mut Object, key: Option<&SealKey>) {
    let Some(Value::Object(settings)) = host.get_mut(SETTINGS) else { return };
    let shown = settings.get(KEY_PAIR).filter(|pair| !pair.is_null()).map(|sealed| {
        let opened = sealed.as_str().zip(key).and_then(|(sealed, key)| key.open_key_pair(sealed).ok());
        json!({ "Cert": opened.map(|pair| STANDARD.encode(pair.cert)), "Key": null })
    });
    settings.insert(KEY_PAIR.to_owned(), shown.unwrap_or_default());
    if let Some(Value::Object(auto)) = settings.get_mut("AutoCert") {
        auto.insert("Key".to_owned(), json!(""));
    }
}

fn given(asked: &Object) -> Result<Given, Failure> {
    let stays = Given::AsBefore { cert: Vec::new() };
    let pair = match asked.get(SETTINGS).and_then(|settings| get(settings, KEY_PAIR)) {
        None => return Ok(stays),
        Some(Value::Null) => return Ok(Given::None),
        Some(Value::String(sealed)) if sealed.is_empty() => return Ok(Given::None),
        Some(Value::String(sealed)) => return Ok(Given::Sealed(sealed.clone())),
        Some(pair @ Value::Object(_)) => pair,
        Some(_) => return Err(Failure::field(PATH, "expected an object with Cert and Key")),
    };
    let (cert, key) = (bytes(pair, "Cert")?, bytes(pair, "Key")?);
    if key.is_empty() { Ok(Given::AsBefore { cert }) } else { Ok(Given::Clear(KeyPair { key, cert })) }
}

/// Go's form of bytes: base64.
fn bytes(pair: &Value, name: &str) -> Result<Vec<u8>, Failure> {
    match get(pair, name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => {
            STANDARD.decode(text).map_err(|_| Failure::field(format!("{PATH}.{name}"), "is not base64"))
        }
        Some(_) => Err(Failure::field(format!("{PATH}.{name}"), "expected base64 of PEM")),
    }
}

/// The key is the certificate's. What is said never holds any of it.
fn check(pair: &KeyPair) -> Result<(), Failure> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pair.cert).collect();
    let chain = chain.unwrap_or_default();
    if chain.is_empty() {
        return Err(Failure::field(format!("{PATH}.Cert"), "no certificates in PEM"));
    }
    let no_key = || Failure::field(format!("{PATH}.Key"), "no private key in PEM that is known here");
    let key = PrivateKeyDer::from_pem_slice(&pair.key).map_err(|_| no_key())?;
    let key = any_supported_type(&key).map_err(|_| no_key())?;
    match CertifiedKey::new(chain, key).keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(Failure::field(format!("{PATH}.Key"), "is not the certificate's key"))
        }
        Err(_) => Err(Failure::field(format!("{PATH}.Cert"), "the first certificate cannot be read")),
    }
}

fn get<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let fields = object.as_object()?;
    fields
        .get(name)
        .or_else(|| fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}
