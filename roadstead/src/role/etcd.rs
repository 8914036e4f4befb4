//! How a role reaches the state: `roadstead store`, or any etcd.

use super::credentials::Known;
use crate::config::ConfigError;
use anyhow::Context;
use store::{ClientCredentials, EtcdClient};

#[derive(clap::Args)]
pub struct EtcdFlags {
    /// The state: `roadstead store` or etcd, http://HOST:PORT (repeatable, one cluster)
    #[arg(long, required = true)]
    etcd: Vec<String>,
    /// USER:PASSWORD for an etcd with authentication; by default this role's own token is shown
    #[arg(long, env = "ROADSTEAD_ETCD_USER", hide_env_values = true, value_name = "USER:PASSWORD")]
    etcd_user: Option<String>,
    /// The state is an etcd without authentication: it is shown no credentials, which it would refuse
    #[arg(long, conflicts_with = "etcd_user")]
    etcd_open: bool,
}

impl EtcdFlags {
    /// Dials when first used.
    pub fn connect(&self, known: &Known) -> anyhow::Result<EtcdClient> {
        EtcdClient::connect(&self.etcd, self.credentials(known)?).context("connect to the store")
    }

    fn credentials(&self, known: &Known) -> Result<ClientCredentials, ConfigError> {
        if self.etcd_open {
            return Ok(ClientCredentials::None);
        }
        if let Some(user) = &self.etcd_user {
            let Some((user, password)) = user.split_once(':') else {
                return Err(ConfigError::Usage("--etcd-user takes USER:PASSWORD".into()));
            };
            return Ok(ClientCredentials::Password { user: user.into(), password: password.into() });
        }
        Ok(known.token.clone().map_or(ClientCredentials::None, ClientCredentials::Token))
    }
}
