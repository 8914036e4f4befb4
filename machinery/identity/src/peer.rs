//! Whom a certificate names: a role on a node.
//!
//! The name is the certificate's one URI of our scheme, `roadstead://NODE/ROLE`, and the common name (which etcd takes for
//! its user) must say the same role. Nothing here is trusted before the chain has been verified.

use crate::Role;
use rustls::pki_types::CertificateDer;
use std::fmt;
use web::PeerCertificate;
use x509_parser::extensions::GeneralName;

/// Who a verified certificate names. In a request's extensions when its connection showed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub role: Role,
    pub node: String,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    #[error("the certificate cannot be read")]
    Malformed,
    #[error("the certificate does not name one node and role of a platform")]
    NoName,
    #[error("the certificate names `{uri}`, which is no node and role this release knows")]
    Unknown { uri: String },
    #[error("the certificate's common name is not its role {role}")]
    CommonName { role: Role },
}

const SCHEME: &str = "roadstead://";

/// A DNS label's length (RFC 1035, section 2.3.4), so that a node's name can be one.
const NODE_NAME_BYTES_MAX: usize = 63;

impl Peer {
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, PeerError> {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| PeerError::Malformed)?;
        let names = parsed.subject_alternative_name().map_err(|_| PeerError::Malformed)?;
        let mut uris = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
            GeneralName::URI(uri) => uri.strip_prefix(SCHEME).map(|rest| (uri, rest)),
            _ => None,
        });
        let (Some((uri, rest)), None) = (uris.next(), uris.next()) else { return Err(PeerError::NoName) };
        let peer = Self::parse(rest).ok_or_else(|| PeerError::Unknown { uri: (*uri).to_owned() })?;
        let mut common_names = parsed.subject().iter_common_name().map(|name| name.as_str().ok());
        if (common_names.next(), common_names.next()) != (Some(Some(peer.role.name())), None) {
            return Err(PeerError::CommonName { role: peer.role });
        }
        Ok(peer)
    }

    /// The URI a certificate bears for it.
    pub(crate) fn uri(&self) -> String {
        format!("{SCHEME}{self}")
    }

    fn parse(text: &str) -> Option<Self> {
        let (node, role) = text.split_once('/')?;
        let role = Role::parse(role)?;
        is_node_name(node).then(|| Self { role, node: node.to_owned() })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.role)
    }
}

/// Whether a text may name a node: it goes into certificates as a DNS name, into paths and into keys of the store. Letters,
/// digits, `-`, `_` and single dots, beginning and ending with a letter or digit.
pub fn is_node_name(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric();
    text.len() <= NODE_NAME_BYTES_MAX
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'-' | b'_' | b'.'))
        && text.bytes().next().is_some_and(word)
        && text.bytes().last().is_some_and(word)
        && !text.contains("..")
}

/// What a tunnel asks of those who come in: a certificate of one of these roles.
pub fn names_one_of(roles: &[Role]) -> impl Fn(&PeerCertificate) -> bool + Send + Sync + use<> {
    let roles = roles.to_vec();
    move |certificate| Peer::of(&certificate.0).is_ok_and(|peer| roles.contains(&peer.role))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_node_is_named_by_what_can_be_a_host_name() {
        for good in ["a", "node-1", "Machine_2.example.org", &"n".repeat(63)] {
            assert!(is_node_name(good), "{good}");
        }
        for bad in ["", ".", "-a", "a-", "a..b", "a/b", "a b", "å", "../x", &"n".repeat(64)] {
            assert!(!is_node_name(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_shown_as_a_certificate_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            assert!(Peer::of(&CertificateDer::from(bytes)).is_err());
        }

        #[test]
        fn a_name_written_is_read_again(node in "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?") {
            for role in Role::ALL {
                let peer = Peer { role, node: node.clone() };
                prop_assert_eq!(Peer::parse(&peer.to_string()), Some(peer));
            }
        }
    }
}
