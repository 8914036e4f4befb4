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
        Ok(self.user.as_ref().map_or(Ok(ClientCredentials::None), |user| etcd_user(user.reveal()))?)
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

/// What `--etcd-user` takes: `USER:PASSWORD`.
pub fn etcd_user(text: &str) -> Result<ClientCredentials, ConfigError> {
    match text.split_once(':') {
        Some((user, password)) if !user.is_empty() => {
            Ok(ClientCredentials::Password { user: user.into(), password: password.into() })
        }
        // Not the text itself: it may be the password.
        _ => Err(ConfigError::Usage("--etcd-user (ROADSTEAD_ETCD_USER): expected USER:PASSWORD".into())),
    }
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    read.with_context(|| format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_name_and_a_password_which_may_hold_anything() {
        let Ok(ClientCredentials::Password { user, password }) = etcd_user("root:a:b") else { panic!("it is one") };
        assert_eq!((user.as_str(), password.as_str()), ("root", "a:b"));
        for wrong in ["", "secret", ":secret"] {
            let error = etcd_user(wrong).unwrap_err().to_string();
            assert!(error.contains("expected USER:PASSWORD") && !error.contains("secret"), "{error}");
        }
    }
}
