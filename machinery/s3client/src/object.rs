//! Objects.

use crate::call::{Call, collect};
use crate::{Client, S3Error};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, RANGE};
use http::{HeaderMap, Method};
use std::ops::RangeInclusive;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectHead {
    /// Of this answer's body: of a range, its length.
    pub bytes: u64,
    pub etag: String,
    pub content_type: String,
}

/// An object, or a range of one, whose bytes stream.
#[derive(Debug)]
pub struct Object {
    pub head: ObjectHead,
    pub body: web::Incoming,
}

impl Client {
    /// `None` when there is no such object.
    pub async fn head(&self, bucket: &str, key: &str) -> Result<Option<ObjectHead>, S3Error> {
        let call = Call::new(Method::HEAD, bucket, key);
        match self.repeat(&call).await {
            Ok(response) => Ok(Some(head_of(&call, response.headers())?)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub async fn get(&self, bucket: &str, key: &str, range: Option<RangeInclusive<u64>>) -> Result<Object, S3Error> {
        let mut call = Call::new(Method::GET, bucket, key);
        if let Some(range) = range {
            call = call.header(RANGE, &format!("bytes={}-{}", range.start(), range.end()));
        }
        let (head, body) = self.repeat(&call).await?.into_parts();
        Ok(Object { head: head_of(&call, &head.headers)?, body })
    }

    /// A small object's bytes.
    pub async fn get_bytes(&self, bucket: &str, key: &str) -> Result<Bytes, S3Error> {
        let call = Call::new(Method::GET, bucket, key);
        collect(&call, self.repeat(&call).await?).await
    }

    /// Puts a whole object.
    pub async fn put(
        &self,
        bucket: &str,
        key: &str,
        content_type: &str,
        bytes: impl Into<Bytes>,
    ) -> Result<(), S3Error> {
        let call = Call::new(Method::PUT, bucket, key).header(CONTENT_TYPE, content_type).body(bytes);
        self.repeat(&call).await.map(|_| ())
    }

    /// Removes an object; none there is fine.
    pub async fn delete(&self, bucket: &str, key: &str) -> Result<(), S3Error> {
        match self.repeat(&Call::new(Method::DELETE, bucket, key)).await {
            Err(error) if error.code() == Some("NoSuchKey") => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }
}

fn head_of(call: &Call, headers: &HeaderMap) -> Result<ObjectHead, S3Error> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let lacks = || S3Error::Lacks { resource: call.resource(), what: "Content-Length" };
    let bytes = text(CONTENT_LENGTH).parse().map_err(|_| lacks())?;
    Ok(ObjectHead { bytes, etag: text(ETAG), content_type: text(CONTENT_TYPE) })
}
