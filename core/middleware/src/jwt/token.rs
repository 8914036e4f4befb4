//! A token's three parts.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// Bytes one token may have.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

pub struct Token {
    pub algorithm: String,
    pub key_id: Option<String>,
    pub claims: Map<String, Value>,
    /// What is signed: the first two parts as they came.
    pub message: Vec<u8>,
    pub signature: Vec<u8>,
}

impl Token {
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (message, signature) = text.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let header = object(header)?;
        if header.contains_key("crit") {
            return None;
        }
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return None,
        };
        Some(Self {
            algorithm: header.get("alg")?.as_str()?.to_owned(),
            key_id,
            claims: object(claims)?,
            message: message.as_bytes().to_vec(),
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// A claim that can be said in one line; lists of texts are joined by commas.
    pub fn claim_text(&self, name: &str) -> Option<String> {
        match self.claims.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Array(values) => {
                values.iter().map(Value::as_str).collect::<Option<Vec<_>>>().map(|texts| texts.join(","))
            }
            Value::Null | Value::Object(_) => None,
        }
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    match serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()? {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}
