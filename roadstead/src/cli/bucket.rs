//! `roadstead bucket …`, over S3.

use super::app::Common;
use anyhow::Context;
use identity::AccessKey;
use s3client::{Client, CorsRule};
use std::net::SocketAddr;

#[derive(clap::Subcommand)]
pub enum Command {
    /// List buckets
    List {
        #[command(flatten)]
        common: Common,
    },
}

/// How long a browser may keep what a preflight told it.
const CORS_AGE_SECONDS: u32 = 3600;

pub async fn run(command: Command) -> anyhow::Result<()> {
    let Command::List { common } = command;
    let authority = common.connection.authority()?;
    let key = authority.access_key("admin").context("the authority has S3 keys")?;
    let buckets = s3(common.connection.addresses()?.objects, key)?.list_buckets().await?;
    let rows = buckets.iter().map(|bucket| vec![bucket.clone()]).collect();
    common.output.print(&["name"], rows, &buckets)
}

/// A client of the platform's own object storage.
pub fn s3(objects: SocketAddr, key: &AccessKey) -> anyhow::Result<Client> {
    Ok(Client::new(s3client::Config {
        endpoint: format!("http://{objects}"),
        access_key: key.access_key.clone(),
        secret_key: key.secret_key.reveal().to_owned(),
        region: "us-east-1".into(),
    })?)
}

/// A bucket that a page of any site may upload to and load from, once it holds a signature.
pub async fn make_pictures_bucket(s3: &Client, bucket: &str) -> anyhow::Result<()> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let rule = CorsRule {
        allowed_origins: words(&["*"]),
        allowed_methods: words(&["GET", "HEAD", "PUT", "POST", "DELETE"]),
        allowed_headers: words(&["*"]),
        expose_headers: words(&["ETag"]),
        max_age_seconds: Some(CORS_AGE_SECONDS),
    };
    s3.create_bucket(bucket).await.with_context(|| format!("make the bucket {bucket}"))?;
    s3.put_bucket_cors(bucket, &[rule]).await.with_context(|| format!("set the CORS rules of {bucket}"))
}
