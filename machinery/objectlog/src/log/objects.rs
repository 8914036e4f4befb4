//! Objects: put, get, delete, and what a copy takes from its source.

use super::buckets::{NO_BODY, no_such_bucket};
use super::{ObjectLog, Shared};
use crate::Error;
use crate::body::{Body, Content};
use crate::record::{Headers, Put, Record};
use crate::state::{Object, Stored, to_stored};
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// What must hold for a change to happen, decided in the turn of its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    #[default]
    Always,
    /// `If-None-Match: *`
    Absent,
    /// `If-None-Match: <etag>`
    Differs(String),
    /// `If-Match: <etag>`, or `*`: any object.
    Matches(String),
}

/// An object, or a part of an upload, about to be stored.
pub struct NewObject {
    pub etag: String,
    pub modified_ms: i64,
    pub headers: Headers,
    pub body: Body,
}

impl ObjectLog {
    pub fn get(&self, bucket: &str, key: &str) -> Result<Option<Arc<Object>>, Error> {
        let state = self.shared.state();
        let bucket = state.bucket(bucket).ok_or_else(|| no_such_bucket(bucket))?;
        Ok(bucket.objects.get(key).cloned())
    }

    /// Makes `body` the object at `key`. The object is durable when this returns.
    pub async fn put(&self, bucket: &str, key: &str, object: NewObject, condition: &Condition) -> Result<(), Error> {
        let NewObject { etag, modified_ms, headers, body } = object;
        let guards = self.shared.locks.key(bucket, key).await;
        self.shared.require_bucket(bucket)?;
        self.shared.check(bucket, key, condition)?;
        let extents = match &body.0 {
            Content::Inline(_) => None,
            Content::Extents(extents) => Some(to_stored(extents)),
        };
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let put = Put { bucket, key, etag, modified_ms, headers, extents, upload: None };
        self.shared.commit(guards, Record::Put(put), body.0).await
    }

    /// Whether there was an object.
    pub async fn delete(&self, bucket: &str, key: &str, condition: &Condition) -> Result<bool, Error> {
        let guards = self.shared.locks.key(bucket, key).await;
        self.shared.require_bucket(bucket)?;
        self.shared.check(bucket, key, condition)?;
        if self.get(bucket, key)?.is_none() {
            return Ok(false);
        }
        let record = Record::Delete { bucket: bucket.to_owned(), key: key.to_owned() };
        self.shared.commit(guards, record, NO_BODY).await?;
        Ok(true)
    }

    /// An object's body as the body of another: extents are shared, an inline body is read.
    pub async fn body_of(&self, object: &Arc<Object>) -> Result<Body, Error> {
        match &object.stored {
            Stored::Extents(extents) => Ok(Body(Content::Extents(extents.clone()))),
            Stored::Inline { .. } => {
                let (shared, object) = (Arc::clone(&self.shared), Arc::clone(object));
                let read = spawn_blocking(move || shared.inline_body(&object)).await;
                Ok(Body(Content::Inline(read.map_err(|_| Error::ShuttingDown)??)))
            }
        }
    }
}

impl Shared {
    pub(super) fn check(&self, bucket: &str, key: &str, condition: &Condition) -> Result<(), Error> {
        let state = self.state();
        let object = state.bucket(bucket).and_then(|bucket| bucket.objects.get(key));
        match (condition, object) {
            (Condition::Always, _) | (Condition::Absent | Condition::Differs(_), None) => Ok(()),
            (Condition::Differs(etag), Some(object)) if *etag != object.etag => Ok(()),
            (Condition::Matches(etag), Some(object)) if etag == "*" || *etag == object.etag => Ok(()),
            (Condition::Matches(_), None) => Err(Error::NoSuchObject { key: key.to_owned() }),
            (Condition::Absent | Condition::Differs(_) | Condition::Matches(_), Some(_)) => {
                Err(Error::Precondition { key: key.to_owned() })
            }
        }
    }
}
