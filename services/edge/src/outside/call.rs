//! Requests that middlewares have made: to authorizing services, and webhooks.

use super::Warnings;
use crate::limits::{AUTHORIZATIONS_AT_ONCE_MAX, WEBHOOK_TIMEOUT, WEBHOOKS_AT_ONCE_MAX};
use http::{HeaderName, HeaderValue, Request};
use http_body_util::BodyExt;
use identity::machines_authorities;
use lifecycle::{BoxError, ErrorChain};
use middleware::{AUTHORIZATION_BODY_BYTES_MAX, Authorization, AuthorizationRequest, Reply, Webhook};
use rustls::ClientConfig;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

const SECURE: &str = "https:";

pub(super) struct Calls {
    /// The client's connections live here, whoever asks.
    runtime: Handle,
    clients: Arc<Clients>,
    authorizations: Arc<Semaphore>,
    webhooks: Arc<Semaphore>,
    warnings: Arc<Warnings>,
}

/// By whether the URL is `https`.
#[derive(Default)]
pub(crate) struct Clients {
    plain: web::Client,
    /// Made when a URL is first `https`.
    secure: OnceCell<web::Client>,
}

impl Clients {
    pub async fn of(&self, url: &str) -> &web::Client {
        let is_secure = url.get(..SECURE.len()).is_some_and(|start| start.eq_ignore_ascii_case(SECURE));
        if !is_secure {
            return &self.plain;
        }
        let trusting = || async {
            // It reads files. Whom nobody vouches for is not called.
            let config = spawn_blocking(trust).await.ok().flatten();
            config.map_or_else(|| self.plain.clone(), |config| self.plain.clone().with_tls(config))
        };
        self.secure.get_or_init(trusting).await
    }
}

/// Those that this machine's own authorities vouch for.
fn trust() -> Option<Arc<ClientConfig>> {
    let config =
        ClientConfig::builder_with_provider(identity::provider()).with_safe_default_protocol_versions().ok()?;
    Some(Arc::new(config.with_root_certificates(machines_authorities()).with_no_client_auth()))
}

impl Calls {
    pub fn new(warnings: Arc<Warnings>) -> Self {
        Self {
            runtime: Handle::current(),
            clients: Arc::default(),
            authorizations: Arc::new(Semaphore::new(AUTHORIZATIONS_AT_ONCE_MAX)),
            webhooks: Arc::new(Semaphore::new(WEBHOOKS_AT_ONCE_MAX)),
            warnings,
        }
    }

    /// Nobody waits for it.
    pub fn tell(&self, webhook: Arc<Webhook>) {
        let Ok(place) = self.webhooks.clone().try_acquire_owned() else {
            return self.warnings.warn(&"a webhook is dropped: too many are on their way");
        };
        let (clients, warnings) = (self.clients.clone(), self.warnings.clone());
        self.runtime.spawn(async move {
            let _place = place;
            let told = async {
                let client = clients.of(&webhook.url).await;
                let response = client.send_within(request(&webhook)?, WEBHOOK_TIMEOUT).await?;
                match response.status() {
                    status if status.is_success() => Ok(()),
                    status => Err(BoxError::from(format!("it answered {status}"))),
                }
            };
            if let Err(error) = told.await {
                warnings.warn(&format_args!("the webhook {} failed: {}", webhook.url, ErrorChain(&*error)));
            }
        });
    }

    pub async fn authorize(&self, asked: &AuthorizationRequest) -> Reply {
        let Ok(place) = self.authorizations.clone().try_acquire_owned() else {
            self.warnings.warn(&"authorizing services are not asked: too many requests wait for them");
            return Reply::Failed;
        };
        let (clients, asked, warnings) = (self.clients.clone(), asked.clone(), self.warnings.clone());
        let ask = async move {
            let _place = place;
            let ask = async { authorization(clients.of(&asked.url).await, &asked).await };
            let replied = timeout(asked.timeout, ask).await;
            let replied = replied.unwrap_or_else(|_| Err(format!("no answer within {:?}", asked.timeout).into()));
            replied.map_err(|error| {
                warnings.warn(&format_args!("the authorizing service {} failed: {}", asked.url, ErrorChain(&*error)));
            })
        };
        // Who does not wait any more needs no answer.
        match AbortOnDropHandle::new(self.runtime.spawn(ask)).await {
            Ok(Ok(authorization)) => Reply::Authorization(authorization),
            _ => Reply::Failed,
        }
    }
}

async fn authorization(client: &web::Client, asked: &AuthorizationRequest) -> Result<Authorization, BoxError> {
    let mut request = Request::get(&asked.url);
    for (name, value) in &asked.headers {
        request = request.header(HeaderName::try_from(name)?, HeaderValue::from_bytes(value)?);
    }
    let response = client.send_within(request.body(web::empty_body())?, asked.timeout).await?;
    let status = response.status().as_u16();
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
    let (mut stream, mut body) = (response.into_body(), Vec::new());
    while body.len() < AUTHORIZATION_BODY_BYTES_MAX
        && let Some(frame) = stream.frame().await
    {
        body.extend_from_slice(frame?.data_ref().map_or(&[], |data| &data[..]));
    }
    body.truncate(AUTHORIZATION_BODY_BYTES_MAX);
    Ok(Authorization { status, headers, body })
}

fn request(webhook: &Webhook) -> Result<Request<web::Body>, BoxError> {
    let mut request = Request::builder().method(webhook.method.as_str()).uri(&webhook.url);
    for (name, value) in &webhook.headers {
        request = request.header(name, value);
    }
    Ok(request.body(web::full_body(webhook.body.clone()))?)
}
