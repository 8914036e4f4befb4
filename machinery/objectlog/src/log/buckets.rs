//! Buckets, and the documents that are kept with them (CORS rules and the like).

use super::{ObjectLog, Shared};
use crate::body::Content;
use crate::record::Record;
use crate::state::BucketInfo;
use crate::{Error, ListQuery, Listing};
use bytes::Bytes;
use std::sync::Arc;

pub(super) const NO_BODY: Content = Content::Inline(Bytes::new());

impl ObjectLog {
    /// All buckets, sorted by name.
    pub fn buckets(&self) -> Vec<BucketInfo> {
        let state = self.shared.state();
        state.buckets.keys().filter_map(|name| info(&state, name)).collect()
    }

    pub fn bucket(&self, bucket: &str) -> Option<BucketInfo> {
        info(&self.shared.state(), bucket)
    }

    pub async fn create_bucket(&self, bucket: &str, owner: &str, created_ms: i64) -> Result<(), Error> {
        let guards = self.shared.locks.bucket(bucket).await;
        if self.bucket(bucket).is_some() {
            return Err(Error::BucketExists { bucket: bucket.to_owned() });
        }
        let (bucket, owner) = (bucket.to_owned(), owner.to_owned());
        self.shared.commit(guards, Record::CreateBucket { bucket, owner, created_ms }, NO_BODY).await
    }

    /// Uploads in progress end with their bucket; objects keep it alive.
    pub async fn delete_bucket(&self, name: &str) -> Result<(), Error> {
        let guards = self.shared.locks.bucket(name).await;
        {
            let state = self.shared.state();
            let bucket = state.bucket(name).ok_or_else(|| no_such_bucket(name))?;
            if !bucket.objects.is_empty() {
                return Err(Error::BucketNotEmpty { bucket: name.to_owned() });
            }
        }
        self.shared.commit(guards, Record::DeleteBucket { bucket: name.to_owned() }, NO_BODY).await
    }

    pub fn document(&self, bucket: &str, name: &str) -> Result<Option<Arc<str>>, Error> {
        let state = self.shared.state();
        let bucket = state.bucket(bucket).ok_or_else(|| no_such_bucket(bucket))?;
        Ok(bucket.documents.get(name).map(|document| Arc::clone(&document.text)))
    }

    /// Keeps a document with a bucket; `None` removes it.
    pub async fn set_document(&self, bucket: &str, name: &str, text: Option<String>) -> Result<(), Error> {
        let guards = self.shared.locks.bucket(bucket).await;
        self.document(bucket, name)?;
        let (bucket, name) = (bucket.to_owned(), name.to_owned());
        let record = match text {
            Some(text) => Record::SetDocument { bucket, name, text },
            None => Record::RemoveDocument { bucket, name },
        };
        self.shared.commit(guards, record, NO_BODY).await
    }

    pub fn list(&self, bucket: &str, query: ListQuery<'_>) -> Result<Listing, Error> {
        let state = self.shared.state();
        let bucket = state.bucket(bucket).ok_or_else(|| no_such_bucket(bucket))?;
        Ok(crate::listing::list(&bucket.objects, query))
    }
}

impl Shared {
    pub(super) fn require_bucket(&self, bucket: &str) -> Result<(), Error> {
        self.state().bucket(bucket).map(|_| ()).ok_or_else(|| no_such_bucket(bucket))
    }
}

pub(super) fn no_such_bucket(bucket: &str) -> Error {
    Error::NoSuchBucket { bucket: bucket.to_owned() }
}

fn info(state: &crate::state::State, name: &str) -> Option<BucketInfo> {
    let created = state.bucket(name)?.created.as_ref()?;
    Some(BucketInfo { name: name.to_owned(), owner: created.owner.clone(), created_ms: created.created_ms })
}
