//! Buckets and listings.

use crate::call::{Call, collect};
use crate::{Client, S3Error, xml};
use http::Method;
use http::header::CONTENT_TYPE;
use serde::Serialize;

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub objects: Vec<Listed>,
    /// What was rolled up at the delimiter.
    pub prefixes: Vec<String>,
    /// Asks for the next page; `None` on the last.
    pub next: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    pub bytes: u64,
    /// As S3 writes it: `2015-01-11T12:53:12.000Z`.
    pub last_modified: String,
}

/// Which pages may reach a bucket from a browser.
#[derive(Clone, Debug, Serialize)]
pub struct CorsRule {
    #[serde(rename = "AllowedOrigin")]
    pub allowed_origins: Vec<String>,
    #[serde(rename = "AllowedMethod")]
    pub allowed_methods: Vec<String>,
    #[serde(rename = "AllowedHeader")]
    pub allowed_headers: Vec<String>,
    #[serde(rename = "ExposeHeader")]
    pub expose_headers: Vec<String>,
    #[serde(rename = "MaxAgeSeconds", skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<u32>,
}

impl Client {
    pub async fn list_buckets(&self) -> Result<Vec<String>, S3Error> {
        let call = Call::new(Method::GET, "", "");
        let body = collect(&call, self.repeat(&call).await?).await?;
        let list: xml::ListAllMyBuckets = xml::read(&call, &body)?;
        Ok(list.buckets.bucket.into_iter().map(|bucket| bucket.name).collect())
    }

    /// Makes a bucket; one that is ours already is fine.
    pub async fn create_bucket(&self, bucket: &str) -> Result<(), S3Error> {
        match self.repeat(&Call::new(Method::PUT, bucket, "")).await {
            Err(error) if error.code() == Some("BucketAlreadyOwnedByYou") => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    /// Whether the bucket is there, and open to these keys.
    pub async fn has_bucket(&self, bucket: &str) -> Result<bool, S3Error> {
        match self.repeat(&Call::new(Method::HEAD, bucket, "")).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() || error.is_forbidden() => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub async fn delete_bucket(&self, bucket: &str) -> Result<(), S3Error> {
        self.repeat(&Call::new(Method::DELETE, bucket, "")).await.map(|_| ())
    }

    pub async fn put_bucket_cors(&self, bucket: &str, rules: &[CorsRule]) -> Result<(), S3Error> {
        #[derive(Serialize)]
        struct Configuration<'a> {
            #[serde(rename = "CORSRule")]
            rules: &'a [CorsRule],
        }
        let body = xml::write("CORSConfiguration", &Configuration { rules });
        let call = Call::new(Method::PUT, bucket, "").query("cors", "").header(CONTENT_TYPE, "application/xml");
        self.repeat(&call.body(body)).await.map(|_| ())
    }

    /// One page of the keys with a prefix, in order; a delimiter rolls up what follows it.
    pub async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        delimiter: Option<&str>,
        next: Option<&str>,
    ) -> Result<Page, S3Error> {
        let mut call = Call::new(Method::GET, bucket, "").query("list-type", "2").query("encoding-type", "url");
        call = call.query("prefix", prefix);
        if let Some(delimiter) = delimiter {
            call = call.query("delimiter", delimiter);
        }
        if let Some(next) = next {
            call = call.query("continuation-token", next);
        }
        let body = collect(&call, self.repeat(&call).await?).await?;
        let list: xml::ListBucketResult = xml::read(&call, &body)?;
        let decode = |text: String| String::from_utf8_lossy(&s3sign::decode(&text.replace('+', " "))).into_owned();
        let listed = |object: xml::Contents| Listed {
            key: decode(object.key),
            bytes: object.size,
            last_modified: object.last_modified,
        };
        Ok(Page {
            objects: list.contents.into_iter().map(listed).collect(),
            prefixes: list.common_prefixes.into_iter().map(|common| decode(common.prefix)).collect(),
            next: list.next_continuation_token.filter(|token| !token.is_empty()),
        })
    }
}
