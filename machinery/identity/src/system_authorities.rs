//! Whom this machine trusts: the authorities that its system has installed, for servers elsewhere.

use lifecycle::ErrorChain;
use rustls::RootCertStore;
use std::sync::{Arc, LazyLock};

static AUTHORITIES: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(error = %ErrorChain(error), "an authority of this machine cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    Arc::new(roots)
});

/// Read once per process: the first time it reads files.
pub fn machines_authorities() -> Arc<RootCertStore> {
    AUTHORITIES.clone()
}
