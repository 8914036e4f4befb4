//! `roadstead token …`: what a data directory's authority has made.

use super::app::Common;
use anyhow::Context;
use identity::Role;
use serde_json::json;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Print a role's token, ready to paste
    #[command(after_help = "Example: export ROADSTEAD_TOKEN=$(roadstead token show)")]
    Show {
        /// admin, viewer, …
        #[arg(default_value = "admin", value_parser = parse_role)]
        role: Role,
        #[command(flatten)]
        common: Common,
    },
    /// Print a pair of S3 keys, as environment variables
    #[command(after_help = "Example: export $(roadstead token s3)")]
    S3 {
        /// admin, registry or pics
        #[arg(default_value = "admin")]
        user: String,
        #[command(flatten)]
        common: Common,
    },
}

pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Show { role, common } => {
            let authority = common.connection.authority()?;
            let token = authority.token(role).reveal();
            common.output.say(token, &json!({ "role": role, "token": token }))
        }
        Command::S3 { user, common } => {
            let authority = common.connection.authority()?;
            let key = authority
                .access_key(&user)
                .with_context(|| format!("there is no S3 user `{user}`; expected admin, registry or pics"))?;
            let secret = key.secret_key.reveal();
            let text = format!("AWS_ACCESS_KEY_ID={}\nAWS_SECRET_ACCESS_KEY={secret}", key.access_key);
            common.output.say(&text, &json!({ "access_key": key.access_key, "secret_key": secret }))
        }
    }
}

fn parse_role(name: &str) -> Result<Role, String> {
    let names = Role::ALL.map(Role::name).join(", ");
    Role::parse(name).ok_or_else(|| format!("expected one of {names}"))
}
