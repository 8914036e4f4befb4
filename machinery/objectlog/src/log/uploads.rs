//! Multipart uploads: parts are extents, and completion is one record that names them.

use super::ObjectLog;
use super::buckets::{NO_BODY, no_such_bucket};
use super::objects::{Condition, NewObject};
use crate::Error;
use crate::body::Content;
use crate::extent::ExtentRef;
use crate::record::{Headers, Put, Record, StoredPart};
use crate::state::{Part, UploadInfo, to_stored};
use std::collections::BTreeMap;

/// The bytes of an upload's id.
const UPLOAD_ID_BYTES: usize = 16;

/// How an upload is to end.
pub struct Completion<'a> {
    /// Part numbers and their ETags, ascending.
    pub chosen: &'a [(u32, String)],
    /// What each part but the last must have.
    pub part_bytes_min: u64,
    pub modified_ms: i64,
    pub condition: &'a Condition,
    pub etag: String,
    /// Beside those the upload began with.
    pub headers: Headers,
}

impl ObjectLog {
    /// Begins an upload and returns its id.
    pub async fn begin_upload(
        &self,
        bucket: &str,
        key: &str,
        begun_ms: i64,
        headers: Headers,
    ) -> Result<String, Error> {
        let mut id = [0; UPLOAD_ID_BYTES];
        getrandom::fill(&mut id).map_err(|error| Error::Io {
            action: "get random bytes for an upload in",
            path: self.shared.dir.clone(),
            source: std::io::Error::other(error),
        })?;
        let upload = hex::encode(id);
        let guards = self.shared.locks.key(bucket, key).await;
        self.shared.require_bucket(bucket)?;
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let record = Record::BeginUpload { bucket, key, upload: upload.clone(), begun_ms, headers };
        self.shared.commit(guards, record, NO_BODY).await?;
        Ok(upload)
    }

    /// Adds a part, or replaces the one with its number.
    pub async fn put_part(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        number: u32,
        part: NewObject,
    ) -> Result<(), Error> {
        let NewObject { etag, modified_ms, headers, body } = part;
        let guards = self.shared.locks.key(bucket, key).await;
        self.upload(bucket, key, upload)?;
        let Content::Extents(extents) = &body.0 else { return Err(Error::InvalidPart { number }) };
        let part = StoredPart { etag, modified_ms, headers, extents: to_stored(extents) };
        let (bucket, key, upload) = (bucket.to_owned(), key.to_owned(), upload.to_owned());
        self.shared.commit(guards, Record::PutPart { bucket, key, upload, number, part }, body.0).await
    }

    pub fn upload(&self, bucket: &str, key: &str, upload: &str) -> Result<UploadInfo, Error> {
        let state = self.shared.state();
        let bucket = state.bucket(bucket).ok_or_else(|| no_such_bucket(bucket))?;
        let id = (key.to_owned(), upload.to_owned());
        let found = bucket.uploads.get(&id).and_then(|found| found.begun.as_ref());
        let begun = found.ok_or_else(|| no_such_upload(key, upload))?;
        let (key, upload) = id;
        Ok(UploadInfo { key, upload, begun_ms: begun.begun_ms, headers: begun.headers.clone() })
    }

    /// The parts that have arrived.
    pub fn parts(&self, bucket: &str, key: &str, upload: &str) -> Result<BTreeMap<u32, Part>, Error> {
        self.upload(bucket, key, upload)?;
        let state = self.shared.state();
        let bucket = state.bucket(bucket).ok_or_else(|| no_such_bucket(bucket))?;
        let found = bucket.uploads.get(&(key.to_owned(), upload.to_owned()));
        Ok(found.ok_or_else(|| no_such_upload(key, upload))?.parts.clone())
    }

    /// A page of the uploads in progress after (key, id), by key and id.
    pub fn uploads(
        &self,
        bucket: &str,
        prefix: &str,
        after: (&str, &str),
        count_max: usize,
    ) -> Result<Vec<UploadInfo>, Error> {
        let state = self.shared.state();
        let bucket = state.bucket(bucket).ok_or_else(|| no_such_bucket(bucket))?;
        let after = (after.0.to_owned(), after.1.to_owned());
        let range = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        let uploads = bucket.uploads.range(range).filter(|((key, _), _)| key.starts_with(prefix));
        let uploads = uploads.filter_map(|((key, upload), found)| {
            let begun = found.begun.as_ref()?;
            let (key, upload, headers) = (key.clone(), upload.clone(), begun.headers.clone());
            Some(UploadInfo { key, upload, begun_ms: begun.begun_ms, headers })
        });
        Ok(uploads.take(count_max).collect())
    }

    /// Makes the object of the chosen parts, in order.
    pub async fn complete_upload(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        completion: Completion<'_>,
    ) -> Result<(), Error> {
        let Completion { chosen, part_bytes_min, modified_ms, condition, etag, headers } = completion;
        let guards = self.shared.locks.key(bucket, key).await;
        let info = self.upload(bucket, key, upload)?;
        let parts = self.parts(bucket, key, upload)?;
        let parts = choose(&parts, chosen, part_bytes_min)?;
        self.shared.check(bucket, key, condition)?;
        let extents: Vec<ExtentRef> = parts.iter().flat_map(|part| part.extents.iter().cloned()).collect();
        let put = Put {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            etag,
            modified_ms,
            headers: info.headers.into_iter().chain(headers).collect(),
            extents: Some(to_stored(&extents)),
            upload: Some(upload.to_owned()),
        };
        self.shared.commit(guards, Record::Put(put), Content::Extents(extents)).await
    }

    pub async fn abort_upload(&self, bucket: &str, key: &str, upload: &str) -> Result<(), Error> {
        let guards = self.shared.locks.key(bucket, key).await;
        self.upload(bucket, key, upload)?;
        let (bucket, key, upload) = (bucket.to_owned(), key.to_owned(), upload.to_owned());
        self.shared.commit(guards, Record::AbortUpload { bucket, key, upload }, NO_BODY).await
    }
}

fn choose<'a>(
    parts: &'a BTreeMap<u32, Part>,
    chosen: &[(u32, String)],
    part_bytes_min: u64,
) -> Result<Vec<&'a Part>, Error> {
    let mut found: Vec<&Part> = Vec::with_capacity(chosen.len());
    let mut previous = 0;
    for (index, (number, etag)) in chosen.iter().enumerate() {
        let number = *number;
        if index > 0 && number <= previous {
            return Err(Error::InvalidPartOrder { number });
        }
        previous = number;
        let part = parts.get(&number).filter(|part| part.etag == *etag).ok_or(Error::InvalidPart { number })?;
        if index + 1 < chosen.len() && part.len < part_bytes_min {
            return Err(Error::PartTooSmall { number, min: part_bytes_min });
        }
        found.push(part);
    }
    if found.is_empty() { Err(Error::InvalidPart { number: 0 }) } else { Ok(found) }
}

fn no_such_upload(key: &str, upload: &str) -> Error {
    Error::NoSuchUpload { key: key.to_owned(), upload: upload.to_owned() }
}
