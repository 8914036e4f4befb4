//! What a responder answers, and whether it can be shown (RFC 6960 §3.2, §4.2): that it is about the certificate, that it
//! holds now, and that the certificate's issuer said so, or somebody whom the issuer made its responder.

use crate::der::{
    BIT_STRING, ENUMERATED, GENERALIZED_TIME, INTEGER, NotDer, OBJECT, OCTET_STRING, Reader, SEQUENCE, bits, tagged,
    tagged_plain,
};
use crate::request::{CertificateId, SHA1, parsed};
use identity::Validity;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use rustls::pki_types::CertificateDer;
use sha1::{Digest, Sha1};
use std::time::{Duration, SystemTime};

/// `id-pkix-ocsp-basic`, the only kind there is.
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
/// Of a response that does not say when it ends.
const ANSWER_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// A responder's clock may be ahead by this much.
const CLOCK_SKEW: Duration = Duration::from_secs(300);
/// Certificates that a response may bring along.
const CERTIFICATES_MAX: usize = 8;

/// One that can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub is_revoked: bool,
    pub this_update: SystemTime,
    /// When it ends.
    pub until: SystemTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("it is not an OCSP response")]
    Form(#[from] NotDer),
    #[error("the responder does not answer: {}", failure(*.0))]
    Failed(u8),
    #[error("it is of a kind that is not known")]
    Kind,
    #[error("it is about other certificates")]
    OtherCertificate,
    #[error("the responder does not know the certificate")]
    Unknown,
    #[error("it holds from later on")]
    NotYet,
    #[error("it is over")]
    Over,
    #[error("who signed it is neither the certificate's issuer nor a responder that the issuer named")]
    Signer,
    #[error("its signature is not that of who is to have signed it")]
    Signature,
}

fn failure(status: u8) -> &'static str {
    match status {
        1 => "the request is malformed",
        2 => "an internal error",
        3 => "try again later",
        5 => "the request must be signed",
        6 => "not authorized",
        _ => "an unknown status",
    }
}

/// `{ what is signed, algorithm, signature }`: certificates have this form, and responses.
struct Signed<'a> {
    what: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, NotDer> {
        let (what, algorithm) = (reader.expect(SEQUENCE)?.whole, reader.expect(SEQUENCE)?.content);
        Ok(Self { what, algorithm, signature: bits(reader.expect(BIT_STRING)?.content)? })
    }

    /// Whether the owner of this key signed it.
    fn is_of(&self, public_key: &[u8]) -> Result<bool, NotDer> {
        let mut key = Reader::new(public_key).inside(SEQUENCE)?;
        let (of_key, key) = (key.expect(SEQUENCE)?.content, bits(key.expect(BIT_STRING)?.content)?);
        let provider = identity::provider();
        let fits = provider.signature_verification_algorithms.all.iter().filter(|algorithm| {
            algorithm.signature_alg_id().as_ref() == self.algorithm && algorithm.public_key_alg_id().as_ref() == of_key
        });
        let mut fits = fits.map(|algorithm| algorithm.verify_signature(key, self.what, self.signature));
        Ok(fits.any(|verified| verified.is_ok()))
    }
}

/// Whether this is an answer about the certificate that can be shown now.
pub fn check(
    bytes: &[u8],
    id: &CertificateId,
    issuer: &CertificateDer<'_>,
    skips_signature: bool,
    now: SystemTime,
) -> Result<Answer, Unusable> {
    let mut outer = Reader::new(bytes).inside(SEQUENCE)?;
    match outer.expect(ENUMERATED)?.content {
        [0] => {}
        status => return Err(Unusable::Failed(status.first().copied().unwrap_or_default())),
    }
    let mut inner = outer.inside(tagged(0))?.inside(SEQUENCE)?;
    if inner.expect(OBJECT)?.content != BASIC {
        return Err(Unusable::Kind);
    }
    let mut basic = Reader::new(inner.expect(OCTET_STRING)?.content).inside(SEQUENCE)?;
    let signed = Signed::read(&mut basic)?;
    let mut data = Reader::new(signed.what).inside(SEQUENCE)?;
    let _version = data.optional(tagged(0))?;
    let responder = data.next()?;
    let _produced_at = data.expect(GENERALIZED_TIME)?;
    let answer = find(data.inside(SEQUENCE)?, id)?;
    if answer.this_update > now + CLOCK_SKEW {
        return Err(Unusable::NotYet);
    }
    if answer.until <= now {
        return Err(Unusable::Over);
    }
    if !skips_signature {
        let brought = match basic.optional(tagged(0))? {
            Some(brought) => Reader::new(brought.content).inside(SEQUENCE)?,
            None => Reader::new(&[]),
        };
        check_signer(&signed, responder.tag, responder.content, brought, issuer, now)?;
    }
    Ok(answer)
}

/// What is said of the certificate.
fn find(mut all: Reader<'_>, id: &CertificateId) -> Result<Answer, Unusable> {
    while !all.is_empty() {
        let mut one = all.inside(SEQUENCE)?;
        let mut about = one.inside(SEQUENCE)?;
        let algorithm = about.expect(SEQUENCE)?.whole;
        let (name, key) = (about.expect(OCTET_STRING)?.content, about.expect(OCTET_STRING)?.content);
        let serial = about.expect(INTEGER)?.content;
        // Its parameters may be left out.
        let is_sha1 = algorithm == SHA1 || algorithm.get(2..) == Some(&SHA1[2..9]);
        if !is_sha1 || serial != id.serial || name != id.issuer_name_hash || key != id.issuer_key_hash {
            continue;
        }
        let status = one.next()?.tag;
        let this_update = time(one.expect(GENERALIZED_TIME)?.content)?;
        let until = match one.optional(tagged(0))? {
            Some(next) => time(Reader::new(next.content).expect(GENERALIZED_TIME)?.content)?,
            None => this_update + ANSWER_LIFETIME,
        };
        const GOOD: u8 = tagged_plain(0);
        const REVOKED: u8 = tagged(1);
        let is_revoked = match status {
            GOOD => false,
            REVOKED => true,
            _ => return Err(Unusable::Unknown),
        };
        return Ok(Answer { is_revoked, this_update, until });
    }
    Err(Unusable::OtherCertificate)
}

/// The issuer signed it, or somebody whose certificate the issuer signed for just that (RFC 6960 §4.2.2.2).
fn check_signer(
    signed: &Signed<'_>,
    responder_tag: u8,
    responder: &[u8],
    mut brought: Reader<'_>,
    issuer: &CertificateDer<'_>,
    now: SystemTime,
) -> Result<(), Unusable> {
    const BY_NAME: u8 = tagged(1);
    const BY_KEY: u8 = tagged(2);
    let named = match responder_tag {
        BY_NAME => responder,
        BY_KEY => Reader::new(responder).expect(OCTET_STRING)?.content,
        _ => return Err(Unusable::Form(NotDer)),
    };
    // The key of a certificate, if it is the responder's.
    let key_of = |certificate: &CertificateDer<'_>| {
        let parsed = parsed(certificate).map_err(|_| Unusable::Signer)?;
        let key = parsed.public_key();
        let is_it = match responder_tag {
            BY_NAME => parsed.subject().as_raw() == named,
            _ => Sha1::digest(&key.subject_public_key.data)[..] == *named,
        };
        Ok::<_, Unusable>(is_it.then(|| key.raw.to_vec()))
    };
    let signed_by = |key: &[u8]| match signed.is_of(key)? {
        true => Ok(()),
        false => Err(Unusable::Signature),
    };
    if let Some(key) = key_of(issuer)? {
        return signed_by(&key);
    }
    let issuer = parsed(issuer).map_err(|_| Unusable::Signer)?;
    for _ in 0..CERTIFICATES_MAX {
        let Some(one) = brought.optional(SEQUENCE)? else { break };
        let der = CertificateDer::from(one.whole);
        let Some(key) = key_of(&der)? else { continue };
        let delegate = parsed(&der).map_err(|_| Unusable::Signer)?;
        let may_sign = delegate.extended_key_usage().ok().flatten().is_some_and(|usage| usage.value.ocsp_signing);
        let is_named = delegate.issuer().as_raw() == issuer.subject().as_raw()
            && Signed::read(&mut Reader::new(one.content))?.is_of(issuer.public_key().raw)?;
        let holds = Validity::of(&der).is_ok_and(|valid| (valid.not_before..=valid.not_after).contains(&now));
        if may_sign && is_named && holds {
            return signed_by(&key);
        }
    }
    Err(Unusable::Signer)
}

/// `YYYYMMDDHHMMSSZ` (RFC 5280 §4.1.2.5.2).
fn time(text: &[u8]) -> Result<SystemTime, NotDer> {
    let text = std::str::from_utf8(text).map_err(|_| NotDer)?;
    let read = DateTime::strptime("%Y%m%d%H%M%SZ", text).map_err(|_| NotDer)?;
    Ok(SystemTime::from(Offset::UTC.to_timestamp(read).map_err(|_| NotDer)?))
}

#[cfg(test)]
mod tests;
