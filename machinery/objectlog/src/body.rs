//! Bodies on their way in and out.

mod reader;
mod writer;

pub use reader::BodyReader;
pub use writer::BodyWriter;

use crate::extent::ExtentRef;
use bytes::Bytes;

/// A body that was received whole and is not yet part of an object. Dropping it gives its room back.
#[derive(Clone, Debug)]
pub struct Body(pub(crate) Content);

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Inline(Bytes),
    /// Durable already.
    Extents(Vec<ExtentRef>),
}

impl Body {
    pub fn len(&self) -> u64 {
        match &self.0 {
            Content::Inline(bytes) => bytes.len() as u64,
            Content::Extents(extents) => extents.iter().map(|extent| extent.len).sum(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
