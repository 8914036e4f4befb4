//! A body on its way in: unframed, hashed, bounded, handed on piece by piece, and at its end found right or refused.

use crate::checksums::{self, Checksum};
use crate::fault::{Fault, Result};
use crate::limits::{BODY_IDLE_MAX, PUT_BYTES_MAX, XML_BYTES_MAX};
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use md5::Md5;
use objectlog::BodyWriter;
use s3sign::Payload;
use s3sign::chunked::Decoder;
use sha2::{Digest, Sha256};

/// A body that arrived whole and right.
pub struct Received {
    pub body: objectlog::Body,
    /// In hexadecimal: the ETag.
    pub md5: String,
    /// The checksum the client sent, by header.
    pub checksum: Option<(&'static str, String)>,
}

/// Takes a body in for an object or a part.
pub async fn object(headers: &HeaderMap, payload: Payload, body: Body, mut writer: BodyWriter) -> Result<Received> {
    let mut incoming = Incoming::new(headers, payload, body, PUT_BYTES_MAX)?;
    if incoming.declared_len.is_none() {
        return Err(Fault::missing_content_length());
    }
    while let Some(bytes) = incoming.next().await? {
        writer.write(bytes).await?;
    }
    let (md5, checksum) = incoming.finish()?;
    Ok(Received { body: writer.finish().await?, md5, checksum })
}

/// Takes a small document in.
pub async fn document(headers: &HeaderMap, payload: Payload, body: Body) -> Result<Vec<u8>> {
    read(Incoming::new(headers, payload, body, XML_BYTES_MAX as u64)?).await
}

/// Takes the document in that completes an upload: a checksum in its head is the object's, not the document's.
pub async fn completion(headers: &HeaderMap, payload: Payload, body: Body) -> Result<Vec<u8>> {
    let mut headers = headers.clone();
    checksums::HEADERS.iter().for_each(|name| drop(headers.remove(*name)));
    read(Incoming::new(&headers, payload, body, XML_BYTES_MAX as u64)?).await
}

async fn read(mut incoming: Incoming) -> Result<Vec<u8>> {
    let mut document = Vec::new();
    while let Some(bytes) = incoming.next().await? {
        document.extend_from_slice(&bytes);
    }
    incoming.finish()?;
    Ok(document)
}

struct Incoming {
    body: Body,
    framing: Option<Decoder>,
    /// Framed bytes that were received and not yet decoded.
    framed: Bytes,
    bytes_max: u64,
    declared_len: Option<u64>,
    received: u64,
    md5: Md5,
    expected_md5: Option<Vec<u8>>,
    sha256: Option<(Sha256, [u8; 32])>,
    checksum: Option<(Checksum, Option<String>)>,
}

impl Incoming {
    fn new(headers: &HeaderMap, payload: Payload, body: Body, bytes_max: u64) -> Result<Self> {
        let number = |name: &str| -> Result<Option<u64>> {
            let invalid = |_| Fault::invalid_argument(format!("{name} is not a number"));
            let text = headers.get(name).and_then(|value| value.to_str().ok());
            text.map(|text| text.trim().parse().map_err(invalid)).transpose()
        };
        let (framing, sha256) = match payload {
            Payload::Unsigned => (None, None),
            Payload::Hash(expected) => (None, Some((Sha256::new(), expected))),
            Payload::Chunked { signer, trailers: _ } => (Some(Decoder::new(signer)), None),
        };
        let declared_len = match framing {
            Some(_) => number("x-amz-decoded-content-length")?,
            None => number(CONTENT_LENGTH.as_str())?,
        };
        if declared_len.is_some_and(|len| len > bytes_max) {
            return Err(Fault::entity_too_large());
        }
        Ok(Self {
            body,
            framing,
            framed: Bytes::new(),
            bytes_max,
            declared_len,
            received: 0,
            md5: Md5::new(),
            expected_md5: content_md5(headers)?,
            sha256,
            checksum: checksums::declared(headers)?,
        })
    }

    /// The next bytes of the body proper.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let bytes = match &mut self.framing {
                None => self.frame().await?,
                Some(framing) => match framing.decode(&mut self.framed)? {
                    Some(bytes) => Some(bytes),
                    None => match self.frame().await? {
                        Some(framed) => {
                            self.framed = framed;
                            continue;
                        }
                        None => None,
                    },
                },
            };
            let Some(bytes) = bytes else { return Ok(None) };
            self.received += bytes.len() as u64;
            if self.received > self.bytes_max {
                return Err(Fault::entity_too_large());
            }
            if self.declared_len.is_some_and(|len| self.received > len) {
                return Err(Fault::incomplete_body());
            }
            self.md5.update(&bytes);
            if let Some((sha256, _)) = &mut self.sha256 {
                sha256.update(&bytes);
            }
            if let Some((checksum, _)) = &mut self.checksum {
                checksum.update(&bytes);
            }
            return Ok(Some(bytes));
        }
    }

    /// The next bytes off the wire.
    async fn frame(&mut self) -> Result<Option<Bytes>> {
        loop {
            let frame = tokio::time::timeout(BODY_IDLE_MAX, self.body.frame()).await;
            match frame.map_err(|_| Fault::request_timeout())? {
                None => return Ok(None),
                Some(Err(error)) => return Err(Fault { cause: Some(error.into()), ..Fault::incomplete_body() }),
                // Trailers of HTTP itself carry nothing here.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if bytes.is_empty() => {}
                    Ok(bytes) => return Ok(Some(bytes)),
                    Err(_trailers) => {}
                },
            }
        }
    }

    fn finish(self) -> Result<(String, Option<(&'static str, String)>)> {
        let trailers = self.framing.map(Decoder::finish).transpose()?.unwrap_or_default();
        if self.declared_len.is_some_and(|len| len != self.received) {
            return Err(Fault::incomplete_body());
        }
        if let Some((sha256, expected)) = self.sha256
            && <[u8; 32]>::from(sha256.finalize()) != expected
        {
            return Err(Fault::content_hash_mismatch());
        }
        let md5 = self.md5.finalize();
        if self.expected_md5.is_some_and(|expected| expected[..] != md5[..]) {
            return Err(Fault::bad_digest());
        }
        let checksum = match self.checksum {
            None => None,
            Some((checksum, expected)) => {
                let name = checksum.header();
                let trailer = trailers.into_iter().find(|(trailer, _)| trailer == name).map(|(_, value)| value);
                let expected = expected.or(trailer);
                let expected =
                    expected.ok_or_else(|| Fault::invalid_request("the trailer that was announced is missing"))?;
                let computed = checksum.finish();
                if computed != expected {
                    return Err(Fault::bad_digest());
                }
                Some((name, computed))
            }
        };
        Ok((hex::encode(md5), checksum))
    }
}

fn content_md5(headers: &HeaderMap) -> Result<Option<Vec<u8>>> {
    let Some(value) = headers.get("content-md5") else { return Ok(None) };
    let decoded = STANDARD.decode(value.as_bytes().trim_ascii()).ok().filter(|md5| md5.len() == 16);
    decoded.map(Some).ok_or_else(Fault::invalid_digest)
}
