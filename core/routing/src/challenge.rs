//! What edges answer a certificate authority that asks whether a name is ours (ACME, RFC 8555), as they find it in the
//! store.

/// All of it.
pub const CHALLENGES_PREFIX: &str = "/roadstead/acme/challenges/";
/// A token follows; the value is the key authorization, in plain text (RFC 8555, section 8.3).
pub const HTTP_CHALLENGES_PREFIX: &str = "/roadstead/acme/challenges/http/";
/// A name follows; the value is the key pair of a certificate that answers (RFC 8737, section 3), sealed.
pub const TLS_ALPN_CHALLENGES_PREFIX: &str = "/roadstead/acme/challenges/tls-alpn/";
