//! The distribution client: pulls images from a registry and pushes them to one.
//!
//! Registries are spoken to in plain HTTP for now; a registry that answers only to TLS is refused by name. Calls that may
//! be repeated are, a bounded number of times. Blobs stream between the network and files, and are digested on the way.

mod call;
mod error;
mod list;
mod pull;
mod push;

#[cfg(test)]
mod tests;

pub use error::ClientError;
pub use pull::FetchedManifest;
pub use push::{BlobSource, LocalImage};

use web::Credentials;

/// A client of any registry. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RegistryClient {
    /// For the registry itself.
    authorized: web::Client,
    /// For where a registry sends us: an object store refuses requests with somebody else's credentials, and must not
    /// learn ours.
    anonymous: web::Client,
}

impl RegistryClient {
    pub fn new(credentials: Credentials) -> Self {
        Self { authorized: web::Client::new(credentials), anonymous: web::Client::default() }
    }
}

impl Default for RegistryClient {
    fn default() -> Self {
        Self::new(Credentials::None)
    }
}
