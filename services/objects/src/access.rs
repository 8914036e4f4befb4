//! Whose request it is, and which buckets they may use.

use crate::fault::{Fault, Result};
use crate::{Credential, Error};
use jiff::Timestamp;
use s3sign::{Credentials, Payload, RequestHead};
use std::collections::{BTreeSet, HashMap};

pub struct Access {
    open: bool,
    known: HashMap<String, Known>,
}

struct Known {
    credentials: Credentials,
    buckets: Option<BTreeSet<String>>,
}

/// Who sent a request, and how its body is to be read.
pub struct Caller {
    pub access_key: String,
    pub payload: Payload,
    buckets: Option<BTreeSet<String>>,
}

/// The owner of what an open store holds.
const ANYBODY: &str = "anybody";

impl Access {
    pub fn new(credentials: Vec<Credential>, open: bool) -> std::result::Result<Self, Error> {
        let mut known = HashMap::new();
        for Credential { access_key, secret_key, buckets } in credentials {
            let credentials = Credentials::new(access_key.clone(), secret_key)
                .map_err(|source| Error::Credential { access_key: access_key.clone(), source })?;
            let buckets = buckets.map(BTreeSet::from_iter);
            known.insert(access_key, Known { credentials, buckets });
        }
        Ok(Self { open, known })
    }

    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Checks the signature; an open store reads only what it says of the body.
    pub fn admit(&self, head: &RequestHead<'_>, now: Timestamp) -> Result<Caller> {
        if self.open {
            return Ok(Caller { access_key: ANYBODY.to_owned(), payload: unchecked_payload(head), buckets: None });
        }
        let lookup = |access_key: &str| self.known.get(access_key).map(|known| known.credentials.clone());
        let verified = s3sign::verify(head, &lookup, now)?;
        let buckets = self.known.get(&verified.access_key).and_then(|known| known.buckets.clone());
        Ok(Caller { access_key: verified.access_key, payload: verified.payload, buckets })
    }
}

impl Caller {
    pub fn may_use(&self, bucket: &str) -> bool {
        self.buckets.as_ref().is_none_or(|buckets| buckets.contains(bucket))
    }

    pub fn require(&self, bucket: &str) -> Result<()> {
        if self.may_use(bucket) { Ok(()) } else { Err(Fault::access_denied()) }
    }
}

fn unchecked_payload(head: &RequestHead<'_>) -> Payload {
    let text = head.headers.get("x-amz-content-sha256").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if text.starts_with("STREAMING-") {
        return Payload::Chunked { signer: None, trailers: text.ends_with("-TRAILER") };
    }
    Payload::parse(text, None).unwrap_or(Payload::Unsigned)
}
