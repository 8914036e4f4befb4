//! An etcd of the user's: shown a password or a certificate, or nothing.

use super::membership::Outside;
use crate::config::ConfigError;
use anyhow::Context;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use store::ClientCredentials;

impl Outside {
    pub fn credentials(&self) -> anyhow::Result<ClientCredentials> {
        let Some(user) = &self.user else { return Ok(ClientCredentials::None) };
        let Some((user, password)) = user.split_once(':') else {
            return Err(ConfigError::Usage("--etcd-user takes USER:PASSWORD".into()).into());
        };
        Ok(ClientCredentials::Password { user: user.into(), password: password.into() })
    }

    /// `None`: plain HTTP.
    pub fn tls(&self) -> anyhow::Result<Option<Arc<ClientConfig>>> {
        let Some(ca) = &self.ca else { return Ok(None) };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots.add(certificate).with_context(|| format!("{} is no authority's certificate", ca.display()))?;
        }
        let config = ClientConfig::builder_with_provider(identity::provider()).with_safe_default_protocol_versions()?;
        let config = config.with_root_certificates(roots);
        let config = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let parsed = PrivateKeyDer::from_pem_file(key).with_context(|| format!("read {}", key.display()))?;
                config.with_client_auth_cert(certificates(certificate)?, parsed)?
            }
            (None, None) => config.with_no_client_auth(),
            _ => return Err(ConfigError::Usage("--etcd-cert and --etcd-key go together".into()).into()),
        };
        Ok(Some(Arc::new(config)))
    }
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    read.with_context(|| format!("read {}", path.display()))
}
