//! One order, from its beginning or from where an earlier leader was, to the certificate in the store.

use super::chain::{Chain, ChainError};
use super::edges::{self, Behind};
use super::record::{OrderRecord, UnderWay, certificate_id};
use super::refusal;
use super::settings::{Challenge, Settings};
use super::vault::{Vault, VaultError, put};
use crate::desk::Desk;
use crate::keys;
use crate::leader::Clock;
use identity::{KeyPair, SealError};
use instant_acme::{
    Account, AuthorizationStatus, ChallengeStatus, ChallengeType, Identifier, KeyAuthorization, NewOrder, OrderStatus,
    RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName};
use routing::certificate::{CertificateDocument, CertificateIssuer};
use routing::challenge::{CHALLENGES_PREFIX, HTTP_CHALLENGES_PREFIX, TLS_ALPN_CHALLENGES_PREFIX};
use std::time::Duration;
use store::{KeyRange, Operation};
use tokio::time::{Instant, sleep};

/// Every edge takes a challenge within this time, or the authority is not asked to look.
const EDGES_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether they have.
const EDGES_INTERVAL: Duration = Duration::from_millis(20);
/// The authority looks, and signs, within this time, or it is asked again later.
const PATIENCE: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(250)).backoff(1.5).timeout(Duration::from_secs(90));

/// What an order works with.
pub(super) struct Orderer<'a> {
    pub vault: &'a Vault,
    pub desk: &'a Desk,
    pub settings: &'a Settings,
    pub account: &'a Account,
    pub clock: &'a Clock,
}

/// What happened to it is in the record when it ends, well or not.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("{message}")]
    Refused { message: String, is_limit: bool },
    #[error("the certificate authority cannot be asked")]
    Call(#[source] Box<instant_acme::Error>),
    #[error("the certificate authority takes its time")]
    Slow,
    #[error("the certificate authority offers no {0} for this name")]
    NoChallenge(&'static str),
    #[error(transparent)]
    Edges(#[from] Behind),
    #[error("make the key or the request for a certificate")]
    Key(#[from] rcgen::Error),
    #[error("the certificate that came is of no use")]
    Chain(#[from] ChainError),
    #[error("the account in the state cannot be read")]
    AccountUnreadable,
    #[error("the key of the external account is not base64url")]
    ExternalAccountUnreadable,
    #[error("TLS to the certificate authority")]
    Http(#[from] super::http::HttpError),
}

impl From<instant_acme::Error> for OrderError {
    fn from(error: instant_acme::Error) -> Self {
        of_name("this account", error)
    }
}

/// What an answer about a name means.
fn of_name(name: &str, error: instant_acme::Error) -> OrderError {
    match error {
        instant_acme::Error::Api(problem) => {
            OrderError::Refused { message: refusal::told(name, &problem), is_limit: refusal::is_limit(&problem) }
        }
        instant_acme::Error::Timeout(_) => OrderError::Slow,
        other => OrderError::Call(Box::new(other)),
    }
}

impl From<SealError> for OrderError {
    fn from(error: SealError) -> Self {
        Self::Vault(error.into())
    }
}

impl OrderError {
    /// Whether the order at the authority may still lead to a certificate.
    pub(super) fn goes_on(&self) -> bool {
        match self {
            Self::Vault(_) | Self::Call(_) | Self::Slow | Self::Edges(_) | Self::Http(_) => true,
            Self::Refused { is_limit, .. } => *is_limit,
            _ => false,
        }
    }
}

impl Orderer<'_> {
    /// Gets a certificate for a name and puts it into the store, with the record of a success, in one transaction.
    pub(super) async fn obtain(&self, name: &str, record: &mut OrderRecord) -> Result<(), OrderError> {
        let named = |error| of_name(name, error);
        let (mut order, key_pem) = self.begin(name, record).await?;
        if order.state().status == OrderStatus::Pending {
            self.authorize(&mut order, name, record).await?;
            let ready = order.poll_ready(&PATIENCE).await;
            if !matches!(ready, Ok(OrderStatus::Ready)) {
                // Why is said where the authority looked.
                return Err(match failed_challenge(&mut order).await {
                    Some(problem) => named(instant_acme::Error::Api(problem)),
                    None => ready.map_or_else(named, |status| refused(format!("the order is {status:?}"))),
                });
            }
        }
        if order.state().status == OrderStatus::Ready {
            order.finalize_csr(&request(name, &key_pem)?).await.map_err(named)?;
        }
        let chain_pem = order.poll_certificate(&PATIENCE).await.map_err(named)?;
        self.keep(name, record, chain_pem, key_pem).await
    }

    /// What was begun is gone on with, where the authority still knows it.
    async fn begin(&self, name: &str, record: &mut OrderRecord) -> Result<(instant_acme::Order, String), OrderError> {
        let seal_key = self.vault.seal_key()?;
        // One whose key is sealed with a seal key that is lost leads nowhere.
        let kept = record.under_way.as_ref().filter(|one| one.directory == self.settings.directory);
        let kept = kept.and_then(|one| Some((one, seal_key.open(&one.sealed_key).ok()?)));
        if let Some((under_way, key)) = kept {
            match self.account.order(under_way.url.clone()).await {
                Ok(mut order) => {
                    if order.state().status != OrderStatus::Invalid {
                        tracing::info!(name, "an order for a certificate goes on");
                        return Ok((order, String::from_utf8_lossy(&key).into_owned()));
                    }
                }
                // It is not known there any more, unless the authority only asks for patience.
                Err(instant_acme::Error::Api(problem))
                    if !refusal::is_limit(&problem) && problem.status.is_none_or(|status| status < 500) => {}
                Err(error) => return Err(of_name(name, error)),
            }
        }
        let key_pem = rcgen::KeyPair::generate()?.serialize_pem();
        let sealed_key = seal_key.seal(key_pem.as_bytes())?;
        // Should this process end before the answer is written down, the order is not forgotten: it counts.
        record.asks(self.clock.now());
        self.vault.write(vec![put(keys::acme_order(name), record)]).await?;
        let identifiers = [Identifier::Dns(name.to_owned())];
        let order = self.account.new_order(&NewOrder::new(&identifiers)).await.map_err(|error| of_name(name, error))?;
        tracing::info!(name, directory = self.settings.directory, "a certificate is asked for");
        let (directory, url) = (self.settings.directory.clone(), order.url().to_owned());
        let step = "the order is made".to_owned();
        record.begun(UnderWay { directory, url, sealed_key, step });
        self.vault.write(vec![put(keys::acme_order(name), record)]).await?;
        Ok((order, key_pem))
    }

    /// Shows that the name is ours, wherever that is not known yet.
    async fn authorize(
        &self,
        order: &mut instant_acme::Order,
        name: &str,
        record: &mut OrderRecord,
    ) -> Result<(), OrderError> {
        let (kind, wanted) = match self.settings.challenge {
            Challenge::Http01 => (ChallengeType::Http01, Challenge::Http01.name()),
            Challenge::TlsAlpn01 => (ChallengeType::TlsAlpn01, Challenge::TlsAlpn01.name()),
        };
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let mut challenge = authorization.challenge(kind.clone()).ok_or(OrderError::NoChallenge(wanted))?;
            // An earlier leader may have asked already; then the authority looks, or is about to, all the same.
            let answer = self.answer(name, &challenge.token, &challenge.key_authorization())?;
            if let Some(under_way) = &mut record.under_way {
                under_way.step = format!("the authority looks at {name}");
            }
            let revision = self.vault.write(vec![answer, put(keys::acme_order(name), record)]).await?;
            self.until_edges_answer(revision).await?;
            if challenge.status == ChallengeStatus::Pending {
                challenge.set_ready().await?;
            }
        }
        Ok(())
    }

    /// What the edges answer, as they find it in the store.
    fn answer(&self, name: &str, token: &str, expected: &KeyAuthorization) -> Result<Operation, OrderError> {
        Ok(match self.settings.challenge {
            Challenge::Http01 => {
                Operation::put(format!("{HTTP_CHALLENGES_PREFIX}{token}"), expected.as_str().to_owned())
            }
            Challenge::TlsAlpn01 => {
                let mut params = CertificateParams::new(vec![name.to_owned()])?;
                params.custom_extensions = vec![CustomExtension::new_acme_identifier(expected.digest().as_ref())];
                let key = rcgen::KeyPair::generate()?;
                let certificate = params.self_signed(&key)?.pem();
                let pair = KeyPair { key: key.serialize_pem().into_bytes(), cert: certificate.into_bytes() };
                let sealed = self.vault.seal_key()?.seal_key_pair(&pair)?;
                Operation::put(format!("{TLS_ALPN_CHALLENGES_PREFIX}{name}"), sealed)
            }
        })
    }

    async fn until_edges_answer(&self, revision: store::Revision) -> Result<(), OrderError> {
        let deadline = Instant::now() + EDGES_MAX;
        loop {
            match edges::answer(&self.desk.view(), revision) {
                Ok(()) => return Ok(()),
                Err(behind) if Instant::now() >= deadline => return Err(behind.into()),
                Err(_) => sleep(EDGES_INTERVAL).await,
            }
        }
    }

    async fn keep(
        &self,
        name: &str,
        record: &mut OrderRecord,
        chain_pem: String,
        key_pem: String,
    ) -> Result<(), OrderError> {
        let chain = Chain::read(chain_pem.as_bytes(), key_pem.as_bytes())?;
        chain.check(&[name.to_owned()], self.clock.now())?;
        let pair = KeyPair { key: key_pem.into_bytes(), cert: chain_pem.into_bytes() };
        let document = CertificateDocument {
            v: 0,
            names: chain.names,
            sealed: self.vault.seal_key()?.seal_key_pair(&pair)?,
            not_before_s: chain.not_before_s,
            not_after_s: chain.not_after_s,
            issuer: CertificateIssuer::Acme,
            default: false,
            ocsp: None,
        };
        record.succeeded();
        let key = keys::certificate(&certificate_id(CertificateIssuer::Acme, name));
        let writes = vec![put(key, &document), put(keys::acme_order(name), record), forget_challenges()];
        self.vault.write(writes).await?;
        tracing::info!(name, not_after_s = document.not_after_s, "a certificate came");
        Ok(())
    }
}

/// There is one order at a time: what is left of any is of no use to the next.
pub(super) fn forget_challenges() -> Operation {
    Operation::Delete { range: KeyRange::prefix(CHALLENGES_PREFIX), prev_kv: false }
}

/// The request for a certificate (RFC 2986), DER.
fn request(name: &str, key_pem: &str) -> Result<Vec<u8>, OrderError> {
    let key = rcgen::KeyPair::from_pem(key_pem)?;
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(&key)?.der().to_vec())
}

async fn failed_challenge(order: &mut instant_acme::Order) -> Option<instant_acme::Problem> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let state = authorization.refresh().await.ok()?;
        if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.clone()) {
            return Some(problem);
        }
    }
    None
}

fn refused(message: String) -> OrderError {
    OrderError::Refused { message, is_limit: false }
}
