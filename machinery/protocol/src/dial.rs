//! A session with whichever controller leads, the same for agents and edges.
//!
//! ```text
//!   configured ∪ remembered ──▶ Rotation (pure: whom to try next) ──▶ dial ──▶ Channel ──▶ the peer's own session
//!                                  ▲        opened · ended · told               │
//!                                  └────────────────────────────────────────────┘
//! ```
//!
//! One [`Dialer`] gives one connection at a time. Its owner opens the session over it and says what came of it:
//! [`Dialer::opened`], [`Dialer::told`] for every `Controllers` message, [`Dialer::ended`]. A controller that does not lead
//! refuses and names the one that does, which is tried next. A controller that went silent (its process hangs, its machine is
//! gone) is left after [`PING_INTERVAL`] + [`PONG_TIMEOUT`], one that never answers costs [`CONNECT_TIMEOUT`].
//!
//! What the cluster's controllers were is kept on disk, so that a machine which starts while its configured controller is
//! gone for good still finds the others.

mod address;
mod remembered;
mod rotation;

pub use address::{Address, AddressError};

use crate::{CONTROLLERS_MAX, Controllers, LEADER_METADATA};
use identity::{Role, Tls};
use lifecycle::ErrorChain;
use remembered::Remembered;
use rotation::{Rotation, Step};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tonic::metadata::{AsciiMetadataValue, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// For a connection to be made, the handshake of TLS included: machines of one network answer within a millisecond or not
/// at all.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// For a controller to answer the opening of a session.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection that was silent this long is asked for a sign of life (HTTP/2 PING)…
pub const PING_INTERVAL: Duration = Duration::from_millis(500);
/// …and is dead when none came within this time.
pub const PONG_TIMEOUT: Duration = Duration::from_millis(500);

/// Controllers whose last fault is remembered for the log: those configured and those told of.
const COMPLAINTS_MAX: usize = 2 * CONTROLLERS_MAX;

pub struct Config {
    /// `host:port`, or as a URL; the scheme must be `https` exactly when there is `tls`.
    pub controllers: Vec<String>,
    /// The file that keeps what controllers said of themselves.
    pub remembered: Option<PathBuf>,
    pub tls: Option<Tls>,
    /// Shown as `authorization`; not needed beside a certificate.
    pub credentials: web::Credentials,
}

/// Why a session came to its end.
#[derive(Debug, thiserror::Error)]
pub enum SessionEnd {
    #[error("the controller ended the session")]
    Ended(#[source] Box<Status>),
    #[error("the controller closed the session")]
    Closed,
    #[error("the controller did not answer within {OPEN_TIMEOUT:?}")]
    Unanswered,
    #[error("the controller takes no messages")]
    Stalled,
}

impl From<Status> for SessionEnd {
    fn from(status: Status) -> Self {
        Self::Ended(Box::new(status))
    }
}

/// Finds the controller that leads, again and again.
pub struct Dialer {
    rotation: Rotation,
    remembered: Option<Remembered>,
    tls: Option<Tls>,
    authorization: Option<AsciiMetadataValue>,
    /// Whom the last connection was made to.
    dialled: Option<Address>,
    opened_at: Option<Instant>,
    /// What was logged of each since the last session, so that the same is not said over and over.
    complaints: BTreeMap<Address, String>,
}

impl Dialer {
    /// Reads the remembered controllers; a file that cannot be read is as good as none.
    pub fn new(config: Config) -> Result<Self, AddressError> {
        let secure = config.tls.is_some();
        let configured = config.controllers.iter().map(|text| Address::parse(text, secure));
        let configured = configured.collect::<Result<Vec<_>, _>>()?;
        let remembered = config.remembered.map(Remembered::new);
        let told = remembered.as_ref().map(Remembered::read).unwrap_or_default();
        let authorization = config.credentials.header().and_then(|header| {
            let mut value: AsciiMetadataValue = MetadataValue::try_from(header.as_bytes()).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Ok(Self {
            rotation: Rotation::new(configured, told),
            remembered,
            tls: config.tls,
            authorization,
            dialled: None,
            opened_at: None,
            complaints: BTreeMap::new(),
        })
    }

    /// Whether there is anyone to dial.
    pub fn knows_a_controller(&self) -> bool {
        self.rotation.knows_anyone()
    }

    /// Connects to the next controller, however long it takes to reach one.
    pub async fn dial(&mut self) -> Channel {
        loop {
            let address = match self.rotation.step() {
                Step::Dial(address) => address,
                Step::Pause(pause) => {
                    tokio::time::sleep(pause).await;
                    continue;
                }
            };
            self.opened_at = None;
            match self.connect(&address).await {
                Ok(channel) => {
                    self.dialled = Some(address);
                    return channel;
                }
                Err(why) => self.complain(&address, &why),
            }
        }
    }

    /// A request that opens a session, with the credentials.
    pub fn request<T>(&self, messages: T) -> Request<T> {
        let mut request = Request::new(messages);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }

    /// The URL of whom the last connection was made to.
    pub fn controller(&self) -> Option<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        self.dialled.as_ref().map(|address| format!("{scheme}://{address}"))
    }

    /// The session over the last connection is open.
    pub fn opened(&mut self) {
        self.opened_at = Some(Instant::now());
        self.complaints.clear();
        if let Some(address) = &self.dialled {
            tracing::info!(controller = %address, "session with the controller");
        }
    }

    /// The controllers there are, the leader first. An empty list says nothing.
    pub async fn told(&mut self, controllers: &Controllers) {
        let secure = self.tls.is_some();
        let told: Vec<Address> =
            controllers.addresses.iter().filter_map(|text| Address::parse(text, secure).ok()).collect();
        if !self.rotation.told(&told) {
            return;
        }
        tracing::debug!(controllers = ?self.rotation.told_last(), "controllers");
        if let Some(remembered) = &self.remembered {
            remembered.write(self.rotation.told_last().to_vec()).await;
        }
    }

    /// The session over the last connection is over, or was never opened.
    pub fn ended(&mut self, end: &SessionEnd) {
        let Some(address) = self.dialled.take() else { return };
        let lasted = self.opened_at.take().map(|opened_at| opened_at.elapsed());
        let leader = match end {
            SessionEnd::Ended(status) => leader_of(status, self.tls.is_some()),
            _ => None,
        };
        self.complain(&address, &ErrorChain(end).to_string());
        self.rotation.ended(address, lasted, leader);
    }

    async fn connect(&self, address: &Address) -> Result<Channel, String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"));
        let endpoint = endpoint.map_err(|error| ErrorChain(&error).to_string())?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PONG_TIMEOUT)
            .keep_alive_while_idle(true);
        let tls = self.tls.as_ref().map(|tls| tls.client(Some(Role::Controller)));
        match tokio::time::timeout(CONNECT_TIMEOUT, web::grpc_connect(&endpoint, tls)).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(ErrorChain(&error).to_string()),
            Err(_) => Err(format!("no connection within {CONNECT_TIMEOUT:?}")),
        }
    }

    fn complain(&mut self, address: &Address, why: &str) {
        if self.complaints.get(address).is_some_and(|said| said == why) {
            tracing::debug!(controller = %address, why, "no session");
            return;
        }
        tracing::info!(controller = %address, why, "no session");
        if self.complaints.len() >= COMPLAINTS_MAX {
            self.complaints.clear();
        }
        self.complaints.insert(address.clone(), why.to_owned());
    }
}

/// The leader a refusal names.
fn leader_of(status: &Status, secure: bool) -> Option<Address> {
    let named = status.metadata().get(LEADER_METADATA)?.to_str().ok()?;
    Address::parse(named, secure).ok()
}

#[cfg(test)]
mod tests;
