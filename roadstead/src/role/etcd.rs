//! How a role reaches the state: `roadstead store`, or any etcd.

use super::credentials::Known;
use crate::cluster;
use crate::config::ConfigError;
use anyhow::Context;
use identity::Role;
use std::path::Path;
use std::sync::Arc;
use store::{ClientCredentials, EtcdClient};

#[derive(clap::Args)]
pub struct EtcdFlags {
    /// The state: `roadstead store` or etcd, http://HOST:PORT or, with --certificates, https:// (repeatable, one cluster)
    #[arg(long, required_unless_present = "others")]
    etcd: Vec<String>,
    /// USER:PASSWORD for an etcd with authentication; by default this role's own token is shown
    #[arg(long, env = "ROADSTEAD_ETCD_USER", hide_env_values = true, value_name = "USER:PASSWORD")]
    etcd_user: Option<String>,
    /// The state is an etcd without authentication: it is shown no credentials, which it would refuse
    #[arg(long, conflicts_with = "etcd_user")]
    etcd_open: bool,
}

/// The state, for a role that can do without it.
#[derive(clap::Args)]
pub struct OptionalEtcdFlags {
    /// The state: who may hold an address is asked there, too, as long as it answers
    #[arg(long)]
    etcd: Vec<String>,
}

impl OptionalEtcdFlags {
    pub fn connect(&self, known: &Known, others: Option<&Path>) -> anyhow::Result<Option<Arc<EtcdClient>>> {
        if self.etcd.is_empty() && others.is_none() {
            return Ok(None);
        }
        let flags = EtcdFlags { etcd: self.etcd.clone(), etcd_user: None, etcd_open: false };
        flags.connect(known, others).map(Some)
    }
}

impl EtcdFlags {
    /// Dials when first used.
    pub fn connect(&self, known: &Known, others: Option<&Path>) -> anyhow::Result<Arc<EtcdClient>> {
        let tls = known.tls.as_ref().map(|tls| tls.client(Some(Role::Store)));
        if let Some(others) = others {
            return cluster::state::client(others, tls);
        }
        let client = EtcdClient::connect(&self.etcd, self.credentials(known)?, tls).context("connect to the store")?;
        Ok(Arc::new(client))
    }

    fn credentials(&self, known: &Known) -> Result<ClientCredentials, ConfigError> {
        if self.etcd_open {
            return Ok(ClientCredentials::None);
        }
        if let Some(user) = &self.etcd_user {
            return cluster::etcd_user(user);
        }
        Ok(known.token.clone().map_or(ClientCredentials::None, ClientCredentials::Token))
    }
}
