//! An object written piece by piece: one PUT when it is small, a multipart upload when it is not. Works on any S3.

use crate::call::{Call, collect};
use crate::xml::{self, Part};
use crate::{Client, S3Error};
use bytes::{Bytes, BytesMut};
use http::Method;
use http::header::{CONTENT_TYPE, ETAG};

/// Bytes of a part but the last: what an upload holds in memory. S3 asks for 5 MiB at least.
pub const PART_BYTES: usize = 8 << 20;
/// Parts of one upload (S3's limit): objects of up to 78 GiB.
pub const PARTS_MAX: usize = 10_000;

const _: () = assert!(PART_BYTES >= 5 << 20, "S3 refuses smaller parts");

/// Nothing is visible under the key until [`Upload::finish`]. One that is dropped leaves its parts with S3: whoever keeps
/// account of uploads remembers [`Upload::multipart_id`] and calls [`Client::abort_multipart`].
#[derive(Debug)]
pub struct Upload {
    client: Client,
    bucket: String,
    key: String,
    content_type: String,
    buffer: BytesMut,
    /// A part that S3 has not acknowledged.
    unsent: Option<Bytes>,
    bytes: u64,
    multipart_id: Option<String>,
    parts: Vec<Part>,
}

impl Client {
    pub fn upload(&self, bucket: &str, key: &str, content_type: &str) -> Upload {
        Upload {
            client: self.clone(),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            content_type: content_type.to_owned(),
            buffer: BytesMut::new(),
            unsent: None,
            bytes: 0,
            multipart_id: None,
            parts: Vec::new(),
        }
    }

    /// Forgets a multipart upload's parts; one that is not there is fine.
    pub async fn abort_multipart(&self, bucket: &str, key: &str, multipart_id: &str) -> Result<(), S3Error> {
        match self.repeat(&Call::new(Method::DELETE, bucket, key).query("uploadId", multipart_id)).await {
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }
}

impl Upload {
    /// Takes the next bytes; sends a part when one is full. All of `bytes` is taken before anything is awaited: after an
    /// error, or when this future is dropped, what is not sent yet is sent by the next call.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), S3Error> {
        self.buffer.extend_from_slice(bytes);
        self.bytes += bytes.len() as u64;
        while self.unsent.is_some() || self.buffer.len() >= PART_BYTES {
            self.send_part().await?;
        }
        Ok(())
    }

    /// Bytes taken so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The id under which S3 keeps the parts, once there are any.
    pub fn multipart_id(&self) -> Option<&str> {
        self.multipart_id.as_deref()
    }

    /// Makes the object visible; its length comes back.
    pub async fn finish(mut self) -> Result<u64, S3Error> {
        if self.multipart_id.is_none() && self.unsent.is_none() {
            let bytes = self.buffer.split().freeze();
            self.client.put(&self.bucket, &self.key, &self.content_type, bytes).await?;
            return Ok(self.bytes);
        }
        while self.unsent.is_some() || !self.buffer.is_empty() {
            self.send_part().await?;
        }
        self.complete().await?;
        Ok(self.bytes)
    }

    /// Gives the upload up.
    pub async fn abort(self) -> Result<(), S3Error> {
        match &self.multipart_id {
            Some(id) => self.client.abort_multipart(&self.bucket, &self.key, id).await,
            None => Ok(()),
        }
    }

    async fn send_part(&mut self) -> Result<(), S3Error> {
        let resource = format!("{}/{}", self.bucket, self.key);
        if self.parts.len() >= PARTS_MAX {
            return Err(S3Error::TooLarge { resource });
        }
        let id = match &self.multipart_id {
            Some(id) => id.clone(),
            None => self.begin().await?,
        };
        let part_number = self.parts.len() + 1;
        let length = self.buffer.len().min(PART_BYTES);
        let body = self.unsent.get_or_insert_with(|| self.buffer.split_to(length).freeze()).clone();
        let call = Call::new(Method::PUT, &self.bucket, &self.key)
            .query("partNumber", part_number.to_string())
            .query("uploadId", id)
            .body(body);
        let response = self.client.repeat(&call).await?;
        let etag = response.headers().get(ETAG).and_then(|etag| etag.to_str().ok());
        let lacks = || S3Error::Lacks { resource, what: "the part's ETag" };
        let etag = etag.ok_or_else(lacks)?.to_owned();
        self.parts.push(Part { part_number, etag });
        self.unsent = None;
        Ok(())
    }

    async fn begin(&mut self) -> Result<String, S3Error> {
        let call = Call::new(Method::POST, &self.bucket, &self.key).query("uploads", "");
        let call = call.header(CONTENT_TYPE, &self.content_type);
        let body = collect(&call, self.client.once(&call).await?).await?;
        let begun: xml::InitiateMultipartUpload = xml::read(&call, &body)?;
        self.multipart_id = Some(begun.upload_id.clone());
        Ok(begun.upload_id)
    }

    async fn complete(&self) -> Result<(), S3Error> {
        let body = xml::write("CompleteMultipartUpload", &xml::CompleteMultipartUpload { parts: self.parts.clone() });
        let id = self.multipart_id.clone().unwrap_or_default();
        let call = Call::new(Method::POST, &self.bucket, &self.key)
            .query("uploadId", id)
            .header(CONTENT_TYPE, "application/xml")
            .body(body);
        let response = self.client.once(&call).await?;
        let status = response.status();
        let answer = collect(&call, response).await?;
        // S3 may find out late that it failed, after it said 200.
        match xml::error(&answer) {
            None => Ok(()),
            Some((code, message)) => Err(S3Error::Refused {
                method: call.method.to_string(),
                resource: call.resource(),
                status,
                code,
                message,
            }),
        }
    }
}
