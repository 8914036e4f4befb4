//! What the client shows the server: nothing, a token, or a token it was given for user and password.

use super::RESPONSE_BYTES_MAX;
use crate::wire::etcdserverpb as pb;
use identity::Token;
use pb::auth_client::AuthClient;
use std::fmt;
use tokio::sync::Mutex;
use tonic::metadata::errors::InvalidMetadataValue;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// etcd's name for the metadata that carries a token.
pub const TOKEN_METADATA: &str = "token";

#[derive(Clone, Default)]
pub enum ClientCredentials {
    #[default]
    None,
    Token(Token),
    /// Exchanged for a token by `Auth.Authenticate`.
    Password {
        user: String,
        password: String,
    },
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Token(_) => f.write_str("Token(..)"),
            Self::Password { user, .. } => write!(f, "Password {{ user: {user:?}, .. }}"),
        }
    }
}

type TokenValue = MetadataValue<Ascii>;

pub enum TokenSource {
    None,
    Fixed(TokenValue),
    Granted { user: String, password: String, current: Mutex<Option<TokenValue>> },
}

impl TokenSource {
    pub fn new(credentials: ClientCredentials) -> Result<Self, InvalidMetadataValue> {
        Ok(match credentials {
            ClientCredentials::None => Self::None,
            ClientCredentials::Token(token) => Self::Fixed(token_value(token.reveal())?),
            ClientCredentials::Password { user, password } => {
                Self::Granted { user, password, current: Mutex::new(None) }
            }
        })
    }

    pub async fn attach<Q>(&self, channel: &Channel, request: &mut Request<Q>) -> Result<(), Status> {
        let token = match self {
            Self::None => return Ok(()),
            Self::Fixed(token) => token.clone(),
            Self::Granted { user, password, current } => {
                let mut current = current.lock().await;
                if current.is_none() {
                    *current = authenticate(channel, user, password).await?;
                }
                match &*current {
                    Some(token) => token.clone(),
                    None => return Ok(()),
                }
            }
        };
        request.metadata_mut().insert(TOKEN_METADATA, token);
        Ok(())
    }

    /// Drops a token that was refused; whether another can be had.
    pub async fn forget(&self) -> bool {
        let Self::Granted { current, .. } = self else { return false };
        current.lock().await.take().is_some()
    }
}

/// `None`: the server asks for no credentials.
async fn authenticate(channel: &Channel, user: &str, password: &str) -> Result<Option<TokenValue>, Status> {
    let mut client = AuthClient::new(channel.clone()).max_decoding_message_size(RESPONSE_BYTES_MAX);
    let request = pb::AuthenticateRequest { name: user.into(), password: password.into() };
    match client.authenticate(request).await {
        Ok(response) => {
            let token = token_value(&response.into_inner().token);
            token.map(Some).map_err(|_| Status::internal("the token granted cannot be a header"))
        }
        // As etcd's own clients do: credentials for a server that asks for none are not an error.
        Err(status) if status.code() == Code::FailedPrecondition => Ok(None),
        Err(status) => Err(status),
    }
}

fn token_value(token: &str) -> Result<TokenValue, InvalidMetadataValue> {
    let mut value = TokenValue::try_from(token)?;
    value.set_sensitive(true);
    Ok(value)
}
