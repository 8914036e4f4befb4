//! What every role takes to know others and to be known.

use crate::config::ConfigError;
use anyhow::Context;
use identity::{Identity, Role, Token, Verifier};
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(clap::Args, Clone)]
pub struct CredentialFlags {
    /// This role's identity file: its own token, and the digests of the tokens it accepts
    #[arg(long, env = "ROADSTEAD_IDENTITY")]
    identity: Option<PathBuf>,
    /// The token shown to others (without --identity)
    #[arg(long, env = "ROADSTEAD_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Use without credentials, on loopback only
    #[arg(long, conflicts_with_all = ["identity", "token"])]
    open: bool,
}

/// The two sides of a role's credentials.
pub struct Known {
    pub verifier: Verifier,
    pub token: Option<Token>,
}

impl CredentialFlags {
    /// Without `--identity` and without `--open` a role accepts its `--token`, or one made for this run and said on
    /// standard error.
    pub fn known(&self, role: &str) -> anyhow::Result<Known> {
        if self.open {
            tracing::warn!("--open: everyone on this machine may do everything");
            return Ok(Known { verifier: Verifier::Open, token: None });
        }
        if let Some(path) = &self.identity {
            let identity = Identity::read(path)?;
            return Ok(Known { verifier: identity.verifier(), token: Some(identity.token) });
        }
        if let Some(token) = &self.token {
            let token = Token::from_text(token);
            return Ok(Known { verifier: Verifier::Tokens(vec![token.accepted_as(Role::Admin)]), token: Some(token) });
        }
        let token = Token::generate().context("make a token")?;
        eprintln!("roadstead {role}: no --identity, no --token: this run accepts {}", token.reveal());
        Ok(Known { verifier: Verifier::Tokens(vec![token.accepted_as(Role::Admin)]), token: None })
    }
}

impl Known {
    pub fn client(&self) -> web::Credentials {
        match &self.token {
            Some(token) => web::Credentials::Bearer(token.reveal().to_owned()),
            None => web::Credentials::None,
        }
    }

    /// `--open` is for loopback: refused on any address another machine can reach.
    pub fn refuse_open_beyond_loopback(&self, listen: SocketAddr) -> Result<(), ConfigError> {
        self.verifier.may_guard(listen).map_err(|_| {
            ConfigError::Usage(format!("--open does not go with {listen}: only a loopback address may be open"))
        })
    }
}
