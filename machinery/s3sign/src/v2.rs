//! Signature Version 2: HMAC-SHA1 over a few header lines and the resource. The body and most headers are not signed.

mod canonical;
mod sign;
mod verify;

pub use sign::{presign, sign_header, string_to_sign};
pub(crate) use verify::{verify_header, verify_query};

/// The scheme of the Authorization header: `AWS key:signature`.
pub(crate) const SCHEME: &str = "AWS";

#[cfg(test)]
mod tests;
