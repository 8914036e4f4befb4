//! OCSP (RFC 6960): what a responder is asked about a certificate, and whether what it answers can be shown. Without I/O and
//! without a clock: who asks, and when, is elsewhere.

mod der;
mod request;
mod response;

pub use der::NotDer;
pub use request::{CertificateId, NotAsked, responders};
pub use response::{Answer, Unusable, check};
