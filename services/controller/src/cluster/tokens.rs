//! Join tokens: what lets a machine in that has no certificate yet. The store keeps a digest, so that whoever reads it can
//! let nobody in. A token has an end, a number of uses, and can be taken back.

use super::registrar::{Refusal, Registrar, put, value};
use crate::keys;
use identity::{Accepted, JoinToken, Role, Token, Verifier};
use lifecycle::ErrorChain;
use model::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use store::{Compare, Operation, Revision};

/// As long as it takes to type a command on a few machines.
pub const LIFETIME_DEFAULT: Duration = Duration::from_secs(60 * 60);
pub const LIFETIME_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// A machine that joins uses a token once.
pub const USES_DEFAULT: u32 = 8;
pub const USES_MAX: u32 = 256;
/// Tokens known at once.
const TOKENS_MAX: usize = 64;
/// A token that has ended is known this much longer, so that its user is told why it is refused.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// What is stored of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Of the secret, in hexadecimal.
    pub sha256: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub uses_left: u32,
    #[serde(default)]
    pub revoked: bool,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenRefusal {
    #[error("the join token is not known here: it is of another cluster, or it ended long ago")]
    Unknown,
    #[error("the join token is not valid")]
    Wrong,
    #[error("the join token was revoked")]
    Revoked,
    #[error("the join token expired at {0}")]
    Expired(Timestamp),
    #[error("the join token was used as often as it may be")]
    Used,
}

impl Record {
    /// Whether the secret lets a machine in at `now`. Who does not know the secret is told nothing else.
    pub(crate) fn admit(&self, secret: &Token, now: Timestamp) -> Result<(), TokenRefusal> {
        let accepted = Accepted { role: Role::Node, sha256: self.sha256.clone() };
        if Verifier::Tokens(vec![accepted]).role_of(secret.reveal()).is_none() {
            return Err(TokenRefusal::Wrong);
        }
        if self.revoked {
            return Err(TokenRefusal::Revoked);
        }
        if now >= self.expires_at {
            return Err(TokenRefusal::Expired(self.expires_at));
        }
        Ok(())
    }

    /// In a word, for people.
    pub(crate) fn state(&self, now: Timestamp) -> &'static str {
        match self {
            Self { revoked: true, .. } => "revoked",
            _ if now >= self.expires_at => "expired",
            Self { uses_left: 0, .. } => "used",
            _ => "valid",
        }
    }

    fn has_ended(&self, now: Timestamp) -> bool {
        self.state(now) != "valid"
    }
}

/// A new token with what is stored of it.
pub(crate) struct Issued {
    pub token: JoinToken,
    pub record: Record,
}

impl Registrar {
    pub(crate) async fn issue_token(&self, lifetime: Duration, uses: u32, now: Timestamp) -> Result<Issued, Refusal> {
        if lifetime.is_zero() || lifetime > LIFETIME_MAX {
            return Err(Refusal::Invalid(format!("a join token lives for at most {} s", LIFETIME_MAX.as_secs())));
        }
        if uses == 0 || uses > USES_MAX {
            return Err(Refusal::Invalid(format!("a join token has 1 to {USES_MAX} uses")));
        }
        let ca = self.ca()?;
        if self.tokens().await?.iter().filter(|(_, record, _)| !record.has_ended(now)).count() >= TOKENS_MAX {
            return Err(Refusal::Taken(format!("there are {TOKENS_MAX} join tokens; revoke some")));
        }
        let addresses = self.shared.roster.controllers(&self.shared.advertise);
        let token = JoinToken::generate(ca.fingerprint(), addresses);
        let token = token.map_err(|error| Refusal::NotNow(format!("no random bits can be drawn: {error}")))?;
        let (id, sha256) = (&token.id, token.secret.accepted_as(Role::Node).sha256);
        let expires_at = now.after(lifetime);
        let record = Record { sha256, created_at: now, expires_at, uses_left: uses, revoked: false };
        if !self.write(vec![Compare::absent(keys::join_token(id))], vec![put(keys::join_token(id), &record)]).await? {
            return Err(Refusal::NotNow("another join token has the same id; try again".to_owned()));
        }
        tracing::info!(id, %expires_at, uses, "a join token was made");
        Ok(Issued { token, record })
    }

    /// By id, with the revision each was written at.
    pub(crate) async fn tokens(&self) -> Result<Vec<(String, Record, Revision)>, Refusal> {
        let (_, kvs) = self.store().read_prefix(keys::JOIN_TOKENS_PREFIX, 0).await?;
        let token = |kv: &store::KeyValue| {
            let id = std::str::from_utf8(&kv.key).ok()?.strip_prefix(keys::JOIN_TOKENS_PREFIX)?.to_owned();
            Some((id, value(&kv.value)?, kv.mod_revision))
        };
        Ok(kvs.iter().filter_map(token).collect())
    }

    pub(crate) async fn token(&self, id: &str) -> Result<Option<(Record, Revision)>, Refusal> {
        let kv = self.store().get(&keys::join_token(id)).await?;
        Ok(kv.and_then(|kv| Some((value(&kv.value)?, kv.mod_revision))))
    }

    /// It is kept until its end would be forgotten, too, so that its user is told.
    pub(crate) async fn revoke_token(&self, id: &str) -> Result<(), Refusal> {
        let Some((record, revision)) = self.token(id).await? else {
            return Err(Refusal::NotFound(format!("Join token '{id}' does not exist")));
        };
        let revoked = Record { revoked: true, ..record };
        let unchanged = Compare::unchanged(keys::join_token(id), revision);
        if !self.write(vec![unchanged], vec![put(keys::join_token(id), &revoked)]).await? {
            return Err(Refusal::NotNow("the join token was used in this moment; try again".to_owned()));
        }
        tracing::info!(id, "a join token was revoked");
        Ok(())
    }

    /// Forgets tokens that ended long ago.
    pub(crate) async fn forget_tokens(&self, now: Timestamp) {
        let Ok(tokens) = self.tokens().await else { return };
        for (id, record, revision) in tokens {
            if now < record.expires_at.after(REMEMBERED) {
                continue;
            }
            let unchanged = Compare::unchanged(keys::join_token(&id), revision);
            if let Err(error) = self.write(vec![unchanged], vec![Operation::delete(keys::join_token(&id))]).await {
                tracing::debug!(error = %ErrorChain(&error), id, "an old join token stays");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_own_words_and_a_wrong_secret_learns_nothing() {
        let (secret, now) = (Token::generate().unwrap(), Timestamp::from_millis(1_000_000));
        let record = Record {
            sha256: secret.accepted_as(Role::Node).sha256,
            created_at: now,
            expires_at: now.after(LIFETIME_DEFAULT),
            uses_left: 1,
            revoked: false,
        };
        assert_eq!(record.admit(&secret, now), Ok(()));
        let late = record.expires_at;
        assert_eq!(record.admit(&secret, late), Err(TokenRefusal::Expired(late)));
        let revoked = Record { revoked: true, ..record.clone() };
        assert_eq!(revoked.admit(&secret, now), Err(TokenRefusal::Revoked));
        let other = Token::generate().unwrap();
        assert_eq!(revoked.admit(&other, late), Err(TokenRefusal::Wrong));
        assert_eq!(
            TokenRefusal::Expired(Timestamp::EPOCH).to_string(),
            "the join token expired at 1970-01-01T00:00:00.000Z"
        );
    }
}
