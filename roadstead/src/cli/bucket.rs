//! `roadstead bucket …`, over S3.

use super::app::Common;
use anyhow::Context;
use identity::AccessKey;
use s3client::S3Client;
use serde_json::json;
use std::net::SocketAddr;

#[derive(clap::Subcommand)]
pub enum Command {
    /// List buckets
    List {
        #[command(flatten)]
        common: Common,
    },
}

/// What a browser on any site may do with a bucket of pictures, once it holds a signature.
const PICTURES_CORS: &str = "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin>\
    <AllowedMethod>GET</AllowedMethod><AllowedMethod>HEAD</AllowedMethod><AllowedMethod>PUT</AllowedMethod>\
    <AllowedMethod>POST</AllowedMethod><AllowedMethod>DELETE</AllowedMethod><AllowedHeader>*</AllowedHeader>\
    <ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>3600</MaxAgeSeconds></CORSRule></CORSConfiguration>";

pub async fn run(command: Command) -> anyhow::Result<()> {
    let Command::List { common } = command;
    let authority = common.connection.authority()?;
    let key = authority.access_key("admin").context("the authority has S3 keys")?;
    let buckets = s3(common.connection.addresses()?.objects, key)?.list_buckets().await?;
    let rows = buckets.iter().map(|bucket| vec![bucket.name.clone(), bucket.created.clone()]).collect();
    let value: Vec<_> =
        buckets.iter().map(|bucket| json!({ "name": bucket.name, "created": bucket.created })).collect();
    common.output.print(&["name", "created"], rows, &value)
}

/// A client of the platform's own object storage.
pub fn s3(objects: SocketAddr, key: &AccessKey) -> anyhow::Result<S3Client> {
    Ok(S3Client::new(s3client::Config {
        endpoint: format!("http://{objects}"),
        access_key: key.access_key.clone(),
        secret_key: key.secret_key.reveal().to_owned(),
        region: "us-east-1".into(),
    })?)
}

/// A bucket that pages may upload to and load from.
pub async fn make_pictures_bucket(s3: &S3Client, bucket: &str) -> anyhow::Result<()> {
    s3.create_bucket(bucket).await.with_context(|| format!("make the bucket {bucket}"))?;
    s3.put_bucket_cors(bucket, PICTURES_CORS).await.with_context(|| format!("set the CORS rules of {bucket}"))
}
