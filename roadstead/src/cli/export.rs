//! `roadstead store export`: the state of a machine alone, into an etcd.

use super::output::Output;
use anyhow::Context;
use identity::Authority;
use serde_json::json;
use std::io::Cursor;
use std::path::PathBuf;
use store::dump::{self, Existing};
use store::{ClientCredentials, Embedded, EtcdClient};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Write every key of a stopped platform's embedded store into an etcd that is not in use by another
    #[command(after_help = "Example: roadstead store export --data /var/lib/roadstead --etcd http://10.0.0.5:2379

`roadstead up --address A` does it by itself.")]
    Export {
        /// Data directory of the platform, which must not run
        #[arg(long, env = "ROADSTEAD_DATA", default_value = crate::config::DATA_DEFAULT)]
        data: PathBuf,
        /// URLs of the etcd (repeatable, one cluster)
        #[arg(long, required = true, value_name = "URL")]
        etcd: Vec<String>,
        /// USER:PASSWORD for an etcd with authentication
        #[arg(long, env = "ROADSTEAD_ETCD_USER", hide_env_values = true, value_name = "USER:PASSWORD")]
        etcd_user: Option<String>,
        /// Write over keys that are there
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        output: Output,
    },
}

pub async fn run(command: Command) -> anyhow::Result<()> {
    let Command::Export { data, etcd, etcd_user, force, output } = command;
    // Opening makes one where there is none: a wrong directory is refused before.
    let authority = Authority::path(&data);
    authority.try_exists()?.then_some(()).with_context(|| format!("no platform is kept in {}", data.display()))?;
    let embedded =
        Embedded::open(data.join("store")).await.context("open the embedded store; is the platform stopped?")?;
    let credentials = etcd_user.as_deref().map_or(Ok(ClientCredentials::None), crate::cluster::etcd_user)?;
    let client = EtcdClient::connect(&etcd, credentials, None)?;
    let mut bytes = Vec::new();
    let summary = dump::export(&embedded, &mut bytes).await.context("read the embedded store")?;
    let existing = if force { Existing::Overwrite } else { Existing::Refuse };
    dump::import(&client, &mut Cursor::new(bytes), existing).await.context("write into etcd")?;
    let text = format!("{} keys of revision {} are in {}", summary.keys, summary.revision, etcd.join(" "));
    output.say(&text, &json!({ "keys": summary.keys, "revision": summary.revision }))
}
