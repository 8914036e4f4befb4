//! `roadstead image …`: images without Docker, and what the registry has.

use super::app::Common;
use super::connection::Connection;
use super::output::text;
use anyhow::Context;
use oci::pack::{Add, ImageBuilder, PackedImage};
use oci::{Reference, RegistryClient, layout};
use serde_json::json;
use std::path::{Path, PathBuf};
use web::Credentials;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Make an image of files: programs come with their interpreter and libraries. The same files give the same digest
    #[command(after_help = "\
Example:
  roadstead image pack --add ./server=/app/server --add /bin/sh --cmd /app/server --expose 8000 \\
    --layout ./image --tag server:1")]
    Pack(Box<Pack>),
    /// Push an image to a registry
    #[command(after_help = "Example: roadstead image push ./image server:1")]
    Push {
        /// Image layout directory, as `image pack` writes it
        layout: PathBuf,
        /// HOST:PORT/NAME:TAG; without a host: the registry of the platform on this machine
        reference: Reference,
        #[command(flatten)]
        common: Common,
    },
    /// List the images of the registry on this machine
    List {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(clap::Args)]
pub struct Pack {
    /// A file or directory and its place in the image (repeatable)
    #[arg(long = "add", required = true, value_name = "PATH[=DEST]")]
    additions: Vec<Add>,
    /// Image layout directory to write into
    #[arg(long, short = 'C', value_name = "DIRECTORY")]
    layout: PathBuf,
    /// The image's name in the layout
    #[arg(long, short, value_name = "NAME:TAG")]
    tag: Reference,
    /// Default command (repeatable: one word each)
    #[arg(long, value_name = "WORD")]
    cmd: Vec<String>,
    /// Entry point (repeatable: one word each)
    #[arg(long, value_name = "WORD")]
    entrypoint: Vec<String>,
    /// NAME=VALUE in the program's environment (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Directory the program starts in
    #[arg(long, default_value = "", hide_default_value = true, value_name = "PATH")]
    workdir: String,
    /// User the program runs as
    #[arg(long, default_value = "", hide_default_value = true)]
    user: String,
    /// Port the program listens on (repeatable)
    #[arg(long, value_name = "PORT")]
    expose: Vec<u16>,
    #[command(flatten)]
    common: Common,
}

pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Pack(arguments) => pack(*arguments).await,
        Command::Push { layout, reference, common } => push(&layout, reference, &common).await,
        Command::List { common } => list(&common).await,
    }
}

/// `s3pics:2.0`: this very binary as `/s3pics/s3pics`, and `/bin/sh`, since Marathon runs `cmd` by `/bin/sh -c`.
pub async fn pack_pics(binary: &Path) -> anyhow::Result<PackedImage> {
    let program = Add { source: binary.to_owned(), destination: Some("/s3pics/s3pics".into()) };
    let shell = Add { source: "/bin/sh".into(), destination: None };
    let config = oci::RunConfig {
        cmd: vec!["/s3pics/s3pics".into()],
        working_dir: "/s3pics".into(),
        ..oci::RunConfig::default()
    };
    build(ImageBuilder { additions: vec![program, shell], config, platform: None }).await
}

async fn build(builder: ImageBuilder) -> anyhow::Result<PackedImage> {
    let built = tokio::task::spawn_blocking(move || builder.build(&std::env::temp_dir())).await?;
    built.context("pack the image")
}

async fn pack(arguments: Pack) -> anyhow::Result<()> {
    let config = oci::RunConfig {
        cmd: arguments.cmd,
        entrypoint: arguments.entrypoint,
        env: arguments.env,
        working_dir: arguments.workdir,
        user: arguments.user,
        exposed_ports: arguments.expose.iter().map(|port| (format!("{port}/tcp"), Default::default())).collect(),
        ..oci::RunConfig::default()
    };
    let image = build(ImageBuilder { additions: arguments.additions, config, platform: None }).await?;
    layout::write(&arguments.layout, &layout::name_for(&arguments.tag), &image.local())?;
    let digest = image.digest().to_string();
    let answer = json!({ "image": arguments.tag.to_string(), "layout": arguments.layout, "digest": digest });
    arguments.common.output.say(&digest, &answer)
}

async fn push(layout: &Path, mut reference: Reference, common: &Common) -> anyhow::Result<()> {
    let image = layout::read(layout, Some(&layout::name_for(&reference))).or_else(|_| layout::read(layout, None))?;
    let own = common.connection.addresses().ok().map(|addresses| addresses.registry.to_string());
    if reference.registry.is_none() {
        reference.registry = Some(own.clone().context("no platform runs here; name the registry: HOST:PORT/NAME:TAG")?);
    }
    let client = if reference.registry == own { registry(&common.connection)? } else { foreign(&common.connection) };
    let digest = client.push(&reference, &image).await?.to_string();
    common.output.say(&format!("{reference}  {digest}"), &json!({ "image": reference.to_string(), "digest": digest }))
}

async fn list(common: &Common) -> anyhow::Result<()> {
    let address = common.connection.addresses()?.registry.to_string();
    let client = registry(&common.connection)?;
    let mut images = Vec::new();
    for repository in client.catalog(&address).await? {
        for tag in client.tags(&address, &repository.parse()?).await? {
            let digest = client.manifest(&format!("{address}/{repository}:{tag}").parse()?).await?.digest.to_string();
            images.push(json!({ "repository": repository, "tag": tag, "digest": digest }));
        }
    }
    let rows =
        images.iter().map(|image| ["repository", "tag", "digest"].iter().map(|name| text(&image[*name])).collect());
    common.output.print(&["repository", "tag", "digest"], rows.collect(), &images)
}

/// The registry of the platform on this machine, as the administrator.
fn registry(connection: &Connection) -> anyhow::Result<RegistryClient> {
    Ok(RegistryClient::new(Credentials::Basic { user: "admin".into(), password: connection.admin_token()? }))
}

/// Another registry: with `--token`, if there is one.
fn foreign(connection: &Connection) -> RegistryClient {
    let password = connection.token().cloned();
    let credentials =
        password.map_or(Credentials::None, |password| Credentials::Basic { user: "admin".into(), password });
    RegistryClient::new(credentials)
}
