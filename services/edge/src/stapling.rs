//! OCSP stapling: what the authority says of a certificate now goes along with the certificate in the handshake (RFC 6066 §8),
//! so that clients need not ask the authority themselves. It is asked for by a certificate's document or host, or by the
//! certificate itself (RFC 7633, "must-staple").
//!
//! ```text
//! the table's certificates ──▶ a task for each that is stapled ── POST ──▶ responder
//!                                      │ checked (`ocsp`)
//!                                      ▼
//!                              the certificate, as handshakes show it
//! ```
//!
//! | the responder | what becomes of it |
//! |---|---|
//! | says `good` | shown until it ends; asked again after the period, or halfway to the end |
//! | says `revoked` | shown as well, as vulcand does: it is signed, and clients are to know; named in the log and the status |
//! | fails, or says what cannot be used | asked again after 1 s, then after twice as long each time, up to an hour, and halfway to the last answer's end; that is shown until then |
//!
//! Nobody waits for any of it: a certificate without an answer is shown without one. An answer is taken back when it ends, also
//! while another one is awaited: clients refuse one that is over, not a certificate without any.

use crate::certificates::Certificate;
use crate::current::Current;
use crate::limits::{
    OCSP_ANSWER_BYTES_MAX, OCSP_AT_ONCE_MAX, OCSP_PERIOD, OCSP_PERIOD_MIN, OCSP_RESPONDERS_MAX, OCSP_RETRY_MAX,
    OCSP_TIMEOUT,
};
use crate::outside::Clients;
use crate::servers::lock;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use lifecycle::{BoxError, ErrorChain};
use ocsp::{Answer, CertificateId};
use routing::certificate::OcspSpec;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

/// Keeps the answers of all certificates in the table fresh.
pub(crate) struct Stapler {
    current: Arc<Current>,
    clients: Clients,
    places: Semaphore,
}

struct Kept {
    certificate: Arc<Certificate>,
    spec: OcspSpec,
    last: Arc<Mutex<Option<Staple>>>,
    /// Ends with this.
    _task: AbortOnDropHandle<()>,
}

/// An answer that can be shown.
#[derive(Clone)]
struct Staple {
    bytes: Vec<u8>,
    is_revoked: bool,
    until: SystemTime,
}

#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("its issuer's certificate is not behind it")]
    NoIssuer,
    #[error("it names no responder, and neither does whoever wants it stapled")]
    NoResponder,
    #[error(transparent)]
    Certificate(#[from] ocsp::NotAsked),
    #[error("responder {url}")]
    Responder { url: String, source: BoxError },
}

impl Stapler {
    pub fn new(current: Arc<Current>) -> Self {
        Self { current, clients: Clients::default(), places: Semaphore::new(OCSP_AT_ONCE_MAX) }
    }

    /// Works until there are no more tables.
    pub async fn run(self: Arc<Self>) {
        // By the certificates' keys in the store.
        let (mut tables, mut kept) = (self.current.changes(), HashMap::<String, Kept>::new());
        let mut seen: Arc<[Arc<Certificate>]> = Arc::default();
        loop {
            tables.mark_unchanged();
            let certificates = self.current.load().certificates.clone();
            if !Arc::ptr_eq(&certificates, &seen) {
                self.follow(&certificates, &mut kept);
                seen = certificates;
            }
            if tables.changed().await.is_err() {
                return;
            }
        }
    }

    /// Forgets what is gone, and begins what is new; a certificate that came back otherwise has its last answer again.
    fn follow(self: &Arc<Self>, certificates: &[Arc<Certificate>], kept: &mut HashMap<String, Kept>) {
        let mut before = std::mem::take(kept);
        for certificate in certificates {
            let Some(spec) = certificate.ocsp() else { continue };
            let next = match before.remove(&certificate.key) {
                Some(known) if Arc::ptr_eq(&known.certificate, certificate) => known,
                known => {
                    let is_same = |known: &Kept| known.spec == spec && known.certificate.chain() == certificate.chain();
                    let last = known.filter(is_same).map(|known| known.last).unwrap_or_default();
                    let keeping = self.clone().keep(certificate.clone(), spec.clone(), last.clone());
                    let task = AbortOnDropHandle::new(tokio::spawn(keeping));
                    Kept { certificate: certificate.clone(), spec, last, _task: task }
                }
            };
            kept.insert(certificate.key.clone(), next);
        }
    }

    /// Keeps one certificate's answer fresh.
    async fn keep(self: Arc<Self>, certificate: Arc<Certificate>, spec: OcspSpec, last: Arc<Mutex<Option<Staple>>>) {
        let period = match spec.period_s {
            0 => OCSP_PERIOD,
            seconds => Duration::from_secs(seconds).max(OCSP_PERIOD_MIN),
        };
        let mut retry = OCSP_PERIOD_MIN;
        let shown = || lock(&last).clone();
        if let Some(staple) = shown().filter(|staple| staple.left().is_some()) {
            staple.show(&certificate);
        }
        loop {
            let asked = tokio::select! {
                // First, since the last one may be over before anybody is asked.
                biased;
                never = take_back(shown(), &certificate) => match never {},
                asked = self.ask(&certificate, &spec) => asked,
            };
            let wait = match asked {
                Ok(staple) => {
                    let was_revoked = shown().is_some_and(|before| before.is_revoked);
                    if staple.is_revoked && !was_revoked {
                        tracing::warn!(key = certificate.key, names = ?certificate.names, "a certificate is revoked");
                    }
                    staple.show(&certificate);
                    *lock(&last) = Some(staple);
                    retry = OCSP_PERIOD_MIN;
                    period
                }
                Err(error) => {
                    let error = ErrorChain(&error).to_string();
                    tracing::warn!(key = certificate.key, error, "no OCSP response for a certificate");
                    match shown() {
                        Some(staple) if staple.left().is_some() => certificate.say(staple.text(Some(&error))),
                        _ => {
                            *lock(&last) = None;
                            certificate.show_with(None, format!("none: {error}"));
                        }
                    }
                    let wait = retry;
                    retry = (retry * 2).min(OCSP_RETRY_MAX);
                    wait
                }
            };
            // Halfway to the end at the latest, and at the end itself.
            let in_time = |left: Duration| wait.min(left / 2).max(OCSP_PERIOD_MIN).min(left);
            sleep(shown().and_then(|staple| staple.left()).map_or(wait, in_time)).await;
        }
    }

    async fn ask(&self, certificate: &Certificate, spec: &OcspSpec) -> Result<Staple, NoAnswer> {
        let chain = certificate.chain();
        let (leaf, issuer) = match &chain[..] {
            [leaf, issuer, ..] => (leaf, issuer),
            _ => return Err(NoAnswer::NoIssuer),
        };
        let id = CertificateId::of(leaf, issuer)?;
        let urls = if spec.responders.is_empty() { ocsp::responders(leaf)? } else { spec.responders.clone() };
        let mut failed = NoAnswer::NoResponder;
        for url in urls.into_iter().take(OCSP_RESPONDERS_MAX) {
            let Ok(_place) = self.places.acquire().await else { break };
            let asked = timeout(OCSP_TIMEOUT, self.fetch(&url, id.request())).await;
            let bytes = asked.unwrap_or_else(|_| Err(format!("no answer within {OCSP_TIMEOUT:?}").into()));
            let checked = bytes.and_then(|bytes| {
                let answer = ocsp::check(&bytes, &id, issuer, spec.skip_signature_check, SystemTime::now())?;
                Ok(Staple::new(bytes, answer))
            });
            match checked {
                Ok(staple) => return Ok(staple),
                Err(source) => failed = NoAnswer::Responder { url, source },
            }
        }
        Err(failed)
    }

    async fn fetch(&self, url: &str, body: Vec<u8>) -> Result<Vec<u8>, BoxError> {
        let request = Request::post(url).header(CONTENT_TYPE, "application/ocsp-request");
        let request = request.header(ACCEPT, "application/ocsp-response").body(web::full_body(body))?;
        let response = self.clients.of(url).await.send_within(request, OCSP_TIMEOUT).await?;
        match response.status() {
            StatusCode::OK => {}
            status => return Err(format!("it answered {status}").into()),
        }
        Ok(Limited::new(response.into_body(), OCSP_ANSWER_BYTES_MAX).collect().await?.to_bytes().to_vec())
    }
}

/// Shows the certificate alone from the end of what is shown with it on.
async fn take_back(shown: Option<Staple>, certificate: &Certificate) -> Infallible {
    if let Some(staple) = shown {
        if let Some(left) = staple.left() {
            sleep(left).await;
        }
        certificate.show_with(None, "none: the last one is over, and another one is awaited".to_owned());
    }
    pending().await
}

impl Staple {
    fn new(bytes: Vec<u8>, answer: Answer) -> Self {
        Self { bytes, is_revoked: answer.is_revoked, until: answer.until }
    }

    /// How long it holds; nothing: it is over.
    fn left(&self) -> Option<Duration> {
        self.until.duration_since(SystemTime::now()).ok().filter(|left| !left.is_zero())
    }

    fn show(&self, certificate: &Certificate) {
        certificate.show_with(Some(self.bytes.clone()), self.text(None));
    }

    /// In words, for people.
    fn text(&self, error: Option<&str>) -> String {
        let status = if self.is_revoked { "revoked" } else { "good" };
        let until = Timestamp::try_from(self.until).unwrap_or_default();
        let failed = error.map(|error| format!(" (asked again in vain: {error})")).unwrap_or_default();
        format!("{status} until {until:.0}{failed}")
    }
}
