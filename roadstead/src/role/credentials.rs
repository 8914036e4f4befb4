//! What every role takes to know others and to be known.

use crate::cluster::Others;
use crate::config::ConfigError;
use anyhow::Context;
use identity::{Identity, Role, Tls, Token, Verifier};
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
    #[arg(long, conflicts_with_all = ["identity", "token", "certificates"])]
    open: bool,
    /// For TLS to other machines: the directory of ca.pem and of this role's ROLE.pem and ROLE.key
    #[arg(long, env = "ROADSTEAD_CERTIFICATES", value_name = "DIRECTORY")]
    certificates: Option<PathBuf>,
    /// Where the other machines of the cluster are, as the supervisor keeps it
    #[arg(long, hide = true, requires = "certificates")]
    pub others: Option<PathBuf>,
    /// This machine's name in its cluster
    #[arg(long, hide = true)]
    pub node: Option<String>,
}

/// The two sides of a role's credentials.
pub struct Known {
    pub verifier: Verifier,
    pub token: Option<Token>,
    pub tls: Option<Tls>,
}

impl CredentialFlags {
    /// Without `--identity` and without `--open` a role accepts its `--token`, or one made for this run and said on
    /// standard error.
    pub fn known(&self, role: &str) -> anyhow::Result<Known> {
        let tls = match (&self.certificates, Role::parse(role)) {
            (Some(directory), Some(role)) => Some(Tls::open(directory, role)?),
            _ => None,
        };
        if self.open {
            tracing::warn!("--open: everyone on this machine may do everything");
            return Ok(Known { verifier: Verifier::Open, token: None, tls });
        }
        if let Some(path) = &self.identity {
            let identity = Identity::read(path)?;
            return Ok(Known { verifier: identity.verifier(), token: Some(identity.token), tls });
        }
        let accepting = |token: &Token| Verifier::Tokens(vec![token.accepted_as(Role::Admin)]);
        if let Some(token) = &self.token {
            let token = Token::from_text(token);
            return Ok(Known { verifier: accepting(&token), token: Some(token), tls });
        }
        let token = Token::generate().context("make a token")?;
        eprintln!("roadstead {role}: no --identity, no --token: this run accepts {}", token.reveal());
        Ok(Known { verifier: accepting(&token), token: None, tls })
    }

    /// The controllers named by flags, or those of the cluster.
    pub fn controllers(&self, named: Vec<String>) -> anyhow::Result<Vec<String>> {
        match &self.others {
            Some(path) if named.is_empty() => Ok(Others::read(path)?.controllers),
            _ => Ok(named),
        }
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
