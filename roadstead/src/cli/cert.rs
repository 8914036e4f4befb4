//! `roadstead cert …`: certificates for apps' names, over the controller's API.

use super::app::Common;
use super::connection::Api;
use super::output::text;
use anyhow::Context;
use http::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

pub const EXAMPLES: &str = "Examples:
  roadstead app run shop --image shop:1 --port 8000 --domain shop.example --https
  roadstead cert ls
  roadstead cert add --cert fullchain.pem --key privkey.pem
  roadstead cert renew shop.example";

#[derive(clap::Subcommand)]
pub enum Command {
    /// List certificates and the names that wait for one, with the reason
    Ls {
        #[command(flatten)]
        common: Common,
    },
    /// Show what is known of a name or of one certificate
    Show {
        /// A host name, or an id that `ls` shows
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// Give a certificate of your own; one given earlier for the same name is replaced
    Add {
        /// The certificate and those of its issuers, in PEM form, the name's own first
        #[arg(long, value_name = "FILE")]
        cert: PathBuf,
        /// Its private key, in PEM form; nobody is shown it again
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// A name it is shown for; default: all that it has (repeatable)
        #[arg(long = "name", value_name = "NAME")]
        names: Vec<String>,
        /// Show it to clients that ask for no name, too
        #[arg(long)]
        default: bool,
        /// Ask its authority every hour whether it is still good, and show clients the answer (OCSP stapling)
        #[arg(long)]
        ocsp: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Forget a certificate; a name that an app asks one for is asked for anew
    Rm {
        /// A host name, or an id that `ls` shows
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// Ask for a certificate now, although there is a good one or the next try is later
    Renew {
        /// A name that an app asks a certificate for
        name: String,
        #[command(flatten)]
        common: Common,
    },
}

pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Ls { common } => list(&common).await,
        Command::Show { name, common } => show(&name, &common).await,
        Command::Add { cert, key, names, default, ocsp, common } => {
            let (cert, key) = (read(&cert)?, read(&key)?);
            let body = json!({ "certificate": cert, "key": key, "names": names, "default": default, "ocsp": ocsp });
            let added: Value = common.connection.api()?.send(Method::PUT, "/v1/certificates", &body).await?;
            let said = format!("{} for {} until {}", text(&added["id"]), names_of(&added), text(&added["notAfter"]));
            common.output.say(&said, &added)
        }
        Command::Rm { name, common } => {
            let removed: Value = common.connection.api()?.send(Method::DELETE, &path(&name), &json!({})).await?;
            common.output.say(&format!("{} removed", joined(&removed["removed"])), &removed)
        }
        Command::Renew { name, common } => {
            let path = format!("{}/renew", path(&name));
            let asked: Value = common.connection.api()?.send(Method::POST, &path, &json!({})).await?;
            common
                .output
                .say(&format!("{name} is asked for; `roadstead cert show {name}` tells what came of it"), &asked)
        }
    }
}

async fn list(common: &Common) -> anyhow::Result<()> {
    let known = ask(&common.connection.api()?, "/v1/certificates").await?;
    let certificates = known["certificates"].as_array().cloned().unwrap_or_default();
    let names = known["names"].as_array().cloned().unwrap_or_default();
    let mut rows: Vec<Vec<String>> = certificates
        .iter()
        .map(|one| {
            let of_it = names.iter().find(|name| name["certificate"] == one["id"]);
            let note = of_it.map(note).unwrap_or_default();
            vec![names_of(one), text(&one["issuer"]), text(&one["notAfter"]), note, text(&one["id"])]
        })
        .collect();
    let waiting = names.iter().filter(|name| name["certificate"].is_null());
    rows.extend(
        waiting.map(|name| vec![text(&name["name"]), text(&name["state"]), "-".into(), note(name), "-".into()]),
    );
    common.output.print(&["names", "from", "until", "note", "id"], rows, &known)
}

async fn show(name: &str, common: &Common) -> anyhow::Result<()> {
    let known = ask(&common.connection.api()?, &path(name)).await?;
    let mut lines = Vec::new();
    for one in known["certificates"].as_array().into_iter().flatten() {
        lines.push(format!("{}  {}  {}", text(&one["id"]), text(&one["issuer"]), names_of(one)));
        lines.push(format!("  from {} until {}", text(&one["notBefore"]), text(&one["notAfter"])));
        if !one["renewAt"].is_null() {
            lines.push(format!("  renewed from {} on", text(&one["renewAt"])));
        }
    }
    let of_name = &known["name"];
    if of_name.is_object() {
        let note = note(of_name);
        let note = if note.is_empty() { String::new() } else { format!(": {note}") };
        lines.push(format!("{} is {}{note}", text(&of_name["name"]), text(&of_name["state"])));
    }
    common.output.say(&lines.join("\n"), &known)
}

async fn ask(api: &Api, path: &str) -> anyhow::Result<Value> {
    api.get(path).await
}

/// Why there is none yet, and when it is tried again.
fn note(name: &Value) -> String {
    let message = text(&name["message"]);
    match name["nextAt"].as_str() {
        Some(next) if name["failures"] != 0 => format!("{message}; next try at {next}"),
        _ => message,
    }
}

fn names_of(certificate: &Value) -> String {
    joined(&certificate["names"])
}

fn joined(list: &Value) -> String {
    list.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(" ")
}

fn path(name: &str) -> String {
    // A wildcard's star needs no escape; nothing else that a name has does.
    format!("/v1/certificates/{name}")
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_says_why_and_until_when() {
        let name =
            json!({ "message": "the DNS of a leads nowhere", "failures": 1, "nextAt": "2026-01-01T00:00:00.000Z" });
        assert_eq!(note(&name), "the DNS of a leads nowhere; next try at 2026-01-01T00:00:00.000Z");
        assert_eq!(note(&json!({ "message": "", "failures": 0, "nextAt": null })), "");
    }
}
