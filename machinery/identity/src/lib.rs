//! Who is asking, and what they may do.
//!
//! Every interface asks for credentials, on loopback too. On one machine a role of the platform (or a person) has a
//! [`Token`]; a service knows only the SHA-256 of the tokens it accepts, so that a service broken into cannot speak as
//! another. The [`Authority`] makes the tokens and keeps them in files only their owner can read; each role is handed an
//! [`Identity`]: its own token and what it accepts.
//!
//! Between machines a role has a certificate, too, signed by the cluster's [`Ca`], and speaks mutual [`Tls`]; [`Peer`] is
//! whom a certificate names. A machine comes in with a [`JoinToken`], which tells it where the cluster is and how to know it. The certificates of one that was removed are
//! refused by the authority's [`RevocationList`].
//!
//! What the store keeps of private keys is sealed with the cluster's [`SealKey`].
//!
//! Servers that are no part of the cluster are known by [`machines_authorities`].
//!
//! [`Gate`] is the HTTP face of both: it lets a request in by the certificate of its connection or by its token.

mod authority;
mod ca;
mod certificate_files;
mod gate;
mod join_token;
mod peer;
pub mod private_file;
mod request;
mod revocation;
mod role;
mod seal;
mod system_authorities;
mod tls;
mod token;
mod validity;

pub use authority::{AccessKey, Authority, AuthorityError, Identity};
pub use ca::{Ca, CaError, Subject, request_key_sha256};
pub use certificate_files::{CertificateFiles, InstallError};
pub use gate::{Caller, Gate, GateLayer, authorization_token};
pub use join_token::{JoinToken, JoinTokenError};
pub use peer::{Peer, PeerError, is_node_name, names_one_of};
pub use request::{Request, RequestError};
pub use revocation::{Issued, LIST_LIFETIME, RevocationError, RevocationList};
pub use role::{Access, Role, StoreRight};
pub use seal::{KeyPair, SealError, SealKey, SealKeyError};
pub use system_authorities::machines_authorities;
pub use tls::{ClientCertificates, Tls, TlsError, pinned_client, provider};
pub use token::{Accepted, OpenBeyondLoopback, Token, Verifier};
pub use validity::{CERTIFICATE_LIFETIME, LATE_RENEWAL_MAX, NotACertificate, Renewal, Validity};
