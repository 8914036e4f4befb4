//! The index in memory: what the log says, applied record by record. Replay and live changes go through the same
//! [`State::apply`], so that what is served is what will be found after a restart.

use crate::extent::{ExtentRef, Extents};
use crate::record::{Headers, Put, Record, StoredExtent, StoredPart};
use durable::Position;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An object as it is now; a changed object is another one.
#[derive(Clone, Debug)]
pub struct Object {
    pub etag: String,
    pub len: u64,
    pub modified_ms: i64,
    pub headers: Headers,
    /// The upload it came from: whoever completes that again learns that it is done.
    pub upload: Option<String>,
    pub(crate) stored: Stored,
    pub(crate) position: Position,
}

#[derive(Clone, Debug)]
pub(crate) enum Stored {
    /// In the object's record, from this byte of the payload on.
    Inline {
        offset: usize,
    },
    Extents(Vec<ExtentRef>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketInfo {
    pub name: String,
    pub owner: String,
    pub created_ms: i64,
}

/// A multipart upload that has neither ended nor been aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadInfo {
    pub key: String,
    pub upload: String,
    pub begun_ms: i64,
    pub headers: Headers,
}

/// One uploaded part.
#[derive(Clone, Debug)]
pub struct Part {
    pub etag: String,
    pub len: u64,
    pub modified_ms: i64,
    pub headers: Headers,
    pub(crate) extents: Vec<ExtentRef>,
    pub(crate) position: Position,
}

#[derive(Default)]
pub(crate) struct State {
    pub buckets: BTreeMap<String, Bucket>,
}

/// A bucket can be named by its objects before it is created: rewriting the log moves old records behind newer ones.
#[derive(Default)]
pub(crate) struct Bucket {
    pub created: Option<Created>,
    pub documents: BTreeMap<String, Document>,
    pub objects: BTreeMap<String, Arc<Object>>,
    /// By key, then upload id.
    pub uploads: BTreeMap<(String, String), Upload>,
}

pub(crate) struct Created {
    pub owner: String,
    pub created_ms: i64,
    pub position: Position,
}

pub(crate) struct Document {
    pub text: Arc<str>,
    pub position: Position,
}

#[derive(Default)]
pub(crate) struct Upload {
    pub begun: Option<Begun>,
    pub parts: BTreeMap<u32, Part>,
}

pub(crate) struct Begun {
    pub begun_ms: i64,
    pub headers: Headers,
    pub position: Position,
}

impl State {
    /// `body_offset` is where the record's inline body begins.
    pub fn apply(&mut self, record: Record, position: Position, body_offset: usize, extents: &Arc<Extents>) {
        match record {
            Record::CreateBucket { bucket, owner, created_ms } => {
                let bucket = self.buckets.entry(bucket).or_default();
                bucket.created = Some(Created { owner, created_ms, position });
            }
            Record::DeleteBucket { bucket } => drop(self.buckets.remove(&bucket)),
            Record::SetDocument { bucket, name, text } => {
                let document = Document { text: text.into(), position };
                self.buckets.entry(bucket).or_default().documents.insert(name, document);
            }
            Record::RemoveDocument { bucket, name } => {
                self.existing(&bucket, |bucket| drop(bucket.documents.remove(&name)));
            }
            Record::Put(put) => self.apply_put(put, position, body_offset, extents),
            Record::Delete { bucket, key } => {
                self.existing(&bucket, |bucket| drop(bucket.objects.remove(&key)));
            }
            Record::BeginUpload { bucket, key, upload, begun_ms, headers } => {
                let upload = self.buckets.entry(bucket).or_default().uploads.entry((key, upload)).or_default();
                upload.begun = Some(Begun { begun_ms, headers, position });
            }
            Record::PutPart { bucket, key, upload, number, part } => {
                let upload = self.buckets.entry(bucket).or_default().uploads.entry((key, upload)).or_default();
                upload.parts.insert(number, Part::new(part, position, extents));
            }
            Record::AbortUpload { bucket, key, upload } => {
                self.existing(&bucket, |bucket| drop(bucket.uploads.remove(&(key, upload))));
            }
        }
    }

    fn apply_put(&mut self, put: Put, position: Position, body_offset: usize, extents: &Arc<Extents>) {
        let (stored, len) = match put.extents {
            None => {
                (Stored::Inline { offset: body_offset }, (position.len as usize).saturating_sub(body_offset) as u64)
            }
            Some(stored) => {
                let extents = share(&stored, extents);
                let len = extents.iter().map(|extent| extent.len).sum();
                (Stored::Extents(extents), len)
            }
        };
        let (etag, modified_ms, headers) = (put.etag, put.modified_ms, put.headers);
        let upload = put.upload.clone();
        let object = Arc::new(Object { etag, len, modified_ms, headers, upload, stored, position });
        let bucket = self.buckets.entry(put.bucket).or_default();
        bucket.objects.insert(put.key.clone(), object);
        if let Some(upload) = put.upload {
            bucket.uploads.remove(&(put.key, upload));
        }
    }

    fn existing(&mut self, bucket: &str, change: impl FnOnce(&mut Bucket)) {
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            change(bucket);
        }
    }

    /// The bucket, if it was created.
    pub fn bucket(&self, name: &str) -> Option<&Bucket> {
        self.buckets.get(name).filter(|bucket| bucket.created.is_some())
    }

    /// Bytes of the records that still count.
    pub fn live_bytes(&self) -> u64 {
        self.buckets.values().flat_map(Bucket::positions).map(|position| u64::from(position.len)).sum()
    }
}

impl Bucket {
    fn positions(&self) -> impl Iterator<Item = Position> + '_ {
        let uploads = self.uploads.values().flat_map(|upload| {
            let parts = upload.parts.values().map(|part| part.position);
            upload.begun.iter().map(|begun| begun.position).chain(parts)
        });
        let documents = self.documents.values().map(|document| document.position);
        let objects = self.objects.values().map(|object| object.position);
        self.created.iter().map(|created| created.position).chain(documents).chain(objects).chain(uploads)
    }
}

impl Part {
    fn new(part: StoredPart, position: Position, extents: &Arc<Extents>) -> Self {
        let extents = share(&part.extents, extents);
        let len = extents.iter().map(|extent| extent.len).sum();
        Self { etag: part.etag, len, modified_ms: part.modified_ms, headers: part.headers, extents, position }
    }

    pub(crate) fn to_stored(&self) -> StoredPart {
        let (etag, headers) = (self.etag.clone(), self.headers.clone());
        StoredPart { etag, modified_ms: self.modified_ms, headers, extents: to_stored(&self.extents) }
    }
}

impl Object {
    /// The lengths of the parts the object was made of, in order; a single one unless it was a multipart upload.
    pub fn part_lens(&self) -> Vec<u64> {
        match &self.stored {
            Stored::Inline { .. } => vec![self.len],
            Stored::Extents(extents) => extents.iter().map(|extent| extent.len).collect(),
        }
    }

    #[cfg(test)]
    pub(crate) fn example() -> Self {
        let position = Position { segment: 1, offset: 0, len: 0 };
        let stored = Stored::Inline { offset: 0 };
        Self { etag: String::new(), len: 0, modified_ms: 0, headers: Headers::new(), upload: None, stored, position }
    }
}

pub(crate) fn to_stored(extents: &[ExtentRef]) -> Vec<StoredExtent> {
    extents.iter().map(|extent| StoredExtent { id: extent.extent.id, len: extent.len }).collect()
}

fn share(stored: &[StoredExtent], extents: &Arc<Extents>) -> Vec<ExtentRef> {
    stored.iter().map(|stored| ExtentRef { extent: extents.share(stored.id), len: stored.len }).collect()
}
