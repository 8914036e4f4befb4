//! A certificate chain and its key as text, checked before anybody is shown it.

use model::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::time::Duration;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Names of one certificate (Let's Encrypt's limit).
const NAMES_MAX: usize = 100;
/// Certificates in one chain.
const CHAIN_MAX: usize = 10;
/// How far the clocks of machines and authorities may be apart.
const CLOCKS_MAX: Duration = Duration::from_secs(3600);
/// Bytes of its text.
pub(crate) const CHAIN_BYTES_MAX: usize = 128 << 10;

/// What a chain says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// DNS names, lower-cased, sorted.
    pub names: Vec<String>,
    pub not_before_s: i64,
    pub not_after_s: i64,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ChainError {
    #[error("there is no certificate in PEM form")]
    NoCertificate,
    #[error("the chain has more than {CHAIN_MAX} certificates, or {CHAIN_BYTES_MAX} bytes")]
    TooLong,
    #[error("certificate {number} of the chain cannot be read")]
    Unreadable { number: usize },
    #[error(
        "certificate {number} of the chain is not the issuer of the one before it: put the certificate of the name first"
    )]
    Order { number: usize },
    #[error("there is no private key in PEM form")]
    NoKey,
    #[error("the private key is not the certificate's")]
    Mismatch { source: rustls::Error },
    #[error("the certificate names no host (or more than {NAMES_MAX})")]
    NoName,
    #[error("the certificate ended at {0}")]
    Ended(Timestamp),
    #[error("the certificate does not begin before {0}")]
    NotYet(Timestamp),
    #[error("the certificate is not for {name}: it names {}", names.join(", "))]
    OtherName { name: String, names: Vec<String> },
}

impl Chain {
    pub(crate) fn read(certificates_pem: &[u8], key_pem: &[u8]) -> Result<Self, ChainError> {
        if certificates_pem.len() > CHAIN_BYTES_MAX || key_pem.len() > CHAIN_BYTES_MAX {
            return Err(ChainError::TooLong);
        }
        let certificates: Result<Vec<CertificateDer<'static>>, _> =
            CertificateDer::pem_slice_iter(certificates_pem).take(CHAIN_MAX + 1).collect();
        let certificates = certificates.map_err(|_| ChainError::NoCertificate)?;
        if certificates.len() > CHAIN_MAX {
            return Err(ChainError::TooLong);
        }
        let mut parsed = Vec::with_capacity(certificates.len());
        for (index, der) in certificates.iter().enumerate() {
            let (_, one) = X509Certificate::from_der(der).map_err(|_| ChainError::Unreadable { number: index + 1 })?;
            parsed.push(one);
        }
        for (index, pair) in parsed.windows(2).enumerate() {
            if pair[0].issuer().as_raw() != pair[1].subject().as_raw() {
                return Err(ChainError::Order { number: index + 2 });
            }
        }
        let leaf = parsed.first().ok_or(ChainError::NoCertificate)?;
        let chain = Self {
            names: names(leaf)?,
            not_before_s: leaf.validity().not_before.timestamp(),
            not_after_s: leaf.validity().not_after.timestamp(),
        };
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| ChainError::NoKey)?;
        let pair = CertifiedKey::from_der(certificates, key, &identity::provider());
        pair.map_err(|source| ChainError::Mismatch { source })?;
        Ok(chain)
    }

    /// Refuses one that is of no use at `now`, or that lacks one of these names.
    pub(crate) fn check(&self, names: &[String], now: Timestamp) -> Result<(), ChainError> {
        let end = Timestamp::from_millis(self.not_after_s.saturating_mul(1000));
        if end <= now {
            return Err(ChainError::Ended(end));
        }
        let begin = Timestamp::from_millis(self.not_before_s.saturating_mul(1000));
        if begin > now.after(CLOCKS_MAX) {
            return Err(ChainError::NotYet(begin));
        }
        match names.iter().find(|name| !self.covers(name)) {
            Some(name) => Err(ChainError::OtherName { name: name.clone(), names: self.names.clone() }),
            None => Ok(()),
        }
    }

    /// By name, or by a wildcard one label above.
    fn covers(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let wildcard = name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        self.names.iter().any(|one| *one == name || Some(one) == wildcard.as_ref())
    }
}

fn names(leaf: &X509Certificate<'_>) -> Result<Vec<String>, ChainError> {
    let alternatives = leaf.subject_alternative_name().ok().flatten().ok_or(ChainError::NoName)?;
    let dns = alternatives.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    let mut names: Vec<String> = dns.take(NAMES_MAX + 1).collect();
    names.sort();
    names.dedup();
    if names.is_empty() || names.len() > NAMES_MAX { Err(ChainError::NoName) } else { Ok(names) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    struct Made {
        leaf: String,
        ca: String,
        key: String,
    }

    fn made(names: &[&str]) -> Made {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca_params = CertificateParams::new(Vec::new()).unwrap();
        ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca_params.distinguished_name.push(rcgen::DnType::CommonName, "an authority");
        let ca = ca_params.self_signed(&ca_key).unwrap().pem();
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_before = rcgen::date_time_ymd(2025, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let leaf = params.signed_by(&key, &Issuer::new(ca_params, ca_key)).unwrap().pem();
        Made { leaf, ca, key: key.serialize_pem() }
    }

    #[test]
    fn a_chain_tells_its_names_and_its_time() {
        let Made { leaf, ca, key } = made(&["Shop.example", "*.shop.example"]);
        let chain = Chain::read((leaf + &ca).as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(chain.names, ["*.shop.example", "shop.example"]);
        assert_eq!(chain.not_after_s, 1_893_456_000);
        let now = Timestamp::from_millis(1_800_000_000_000);
        let check = |name: &str| chain.check(&[name.to_owned()], now);
        assert!(check("shop.example").is_ok() && check("A.shop.example").is_ok());
        assert!(matches!(check("a.b.shop.example"), Err(ChainError::OtherName { .. })));
        let late = Timestamp::from_millis(1_900_000_000_000);
        assert!(matches!(chain.check(&[], late), Err(ChainError::Ended(_))));
        let early = Timestamp::from_millis(1_700_000_000_000);
        assert!(matches!(chain.check(&[], early), Err(ChainError::NotYet(_))));
    }

    #[test]
    fn what_cannot_be_shown_says_why() {
        let Made { leaf, ca, key } = made(&["a.example"]);
        let other = made(&["a.example"]);
        let read = |chain: &str, key: &str| Chain::read(chain.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(matches!(read("", &key), ChainError::NoCertificate));
        assert!(matches!(read(&leaf, ""), ChainError::NoKey));
        assert!(matches!(read(&leaf, &other.key), ChainError::Mismatch { .. }));
        assert!(matches!(read(&format!("{ca}{leaf}"), &key), ChainError::Order { number: 2 }));
        assert!(matches!(read(&leaf.repeat(11), &key), ChainError::TooLong));
        assert!(matches!(read(&ca, &key), ChainError::NoName));
        let torn = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(read(torn, &key), ChainError::Unreadable { number: 1 }));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic_the_reader(chain in ".{0,200}", key in ".{0,200}") {
            let framed = format!("-----BEGIN CERTIFICATE-----\n{chain}\n-----END CERTIFICATE-----\n");
            let _refused = Chain::read(framed.as_bytes(), key.as_bytes());
        }
    }
}
