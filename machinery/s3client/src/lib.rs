//! A small client of any S3: what the registry and the command line need, and no more.
//!
//! Path style, Signature V4, plain HTTP. Calls that may be repeated are, a bounded number of times; beginning and
//! completing a multipart upload are not. Objects stream: a [`Upload`] holds one part in memory, a [`Object`] none.

mod bucket;
mod call;
mod error;
mod object;
mod upload;
mod xml;

#[cfg(test)]
mod tests;

pub use bucket::{CorsRule, Listed, Page};
pub use error::S3Error;
pub use object::{Object, ObjectHead};
pub use upload::{PART_BYTES, PARTS_MAX, Upload};

use s3sign::Credentials;

/// Where an S3 is, and who asks.
#[derive(Clone)]
pub struct Config {
    /// `http://HOST[:PORT]`
    pub endpoint: String,
    /// Empty: nothing is signed, as an open object store allows.
    pub access_key: String,
    pub secret_key: String,
    pub region: String,
}

/// The secret is not printed.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut fields = f.debug_struct("Config");
        fields.field("endpoint", &self.endpoint).field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// A client of one S3 endpoint. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: web::Client,
    /// `HOST[:PORT]`, dialled and signed.
    authority: String,
    credentials: Option<Credentials>,
    region: String,
}

impl Client {
    pub fn new(config: Config) -> Result<Self, S3Error> {
        let endpoint = || S3Error::Endpoint { endpoint: config.endpoint.clone() };
        let authority = config.endpoint.strip_prefix("http://").ok_or_else(endpoint)?.trim_end_matches('/');
        if authority.parse::<http::uri::Authority>().is_err() {
            return Err(endpoint());
        }
        let credentials = match config.access_key.is_empty() {
            true => Ok(None),
            false => Credentials::new(config.access_key, config.secret_key).map(Some),
        };
        let credentials = credentials.map_err(|source| S3Error::Credentials { source })?;
        Ok(Self { http: web::Client::default(), authority: authority.to_owned(), credentials, region: config.region })
    }
}
