//! The way to an authority: HTTPS only, bounded in time and size. It remembers when the authority asked to be left alone.

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use web::{Client, Credentials};

/// Of one answer: a chain of certificates is the largest.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// One answer arrives within this time.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The longest time an authority is left alone because it asked for it.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Clone)]
pub(super) struct Http {
    client: Client,
    retry_after: Arc<Mutex<Option<Duration>>>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("the authority's CA (--acme-ca) is no certificate in PEM form")]
    Ca,
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    #[error("no answer within {ANSWER_MAX:?}")]
    Timeout,
}

impl Http {
    /// Trusts whom this machine trusts, and `ca`. Reads files.
    pub(super) fn new(ca: Option<&str>) -> Result<Self, HttpError> {
        let mut roots = RootCertStore::clone(&identity::machines_authorities());
        if let Some(pem) = ca {
            let mut added = 0;
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                roots.add(certificate.map_err(|_| HttpError::Ca)?).map_err(|_| HttpError::Ca)?;
                added += 1;
            }
            if added == 0 {
                return Err(HttpError::Ca);
            }
        }
        let config = ClientConfig::builder_with_provider(identity::provider()).with_safe_default_protocol_versions();
        let config = config.map_err(HttpError::Tls)?.with_root_certificates(roots).with_no_client_auth();
        let client = Client::new(Credentials::None).with_tls(Arc::new(config));
        Ok(Self { client, retry_after: Arc::default() })
    }

    /// What the last answer that said so asked for; told once.
    pub(super) fn take_retry_after(&self) -> Option<Duration> {
        self.retry_after.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn fetch(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_or_else(|never| match never {}, |body| body.to_bytes());
        let sent = self.client.send(Request::from_parts(head, web::full_body(body)));
        let (head, body) = sent.await.map_err(|error| Error::Other(Box::new(error)))?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(Error::Other)?.to_bytes();
        // On polls it says when to come again; that is instant-acme's to read.
        if !head.status.is_success() {
            let asked = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
            let asked = asked.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
            *self.retry_after.lock().unwrap_or_else(PoisonError::into_inner) = asked;
        }
        Ok(BytesResponse::from(Response::from_parts(head, Full::new(body))))
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let fetched = tokio::time::timeout(ANSWER_MAX, self.clone().fetch(request));
        Box::pin(async move { fetched.await.unwrap_or_else(|_| Err(Error::Other(Box::new(HttpError::Timeout)))) })
    }
}
