//! What a request asks for, from its method, target and query. Pure: a table with a test.

use crate::address::Target;
use crate::fault::{Fault, Result};
use http::{HeaderMap, Method};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    ListBuckets,
    CreateBucket,
    HeadBucket,
    DeleteBucket,
    GetBucketLocation,
    GetBucketCors,
    PutBucketCors,
    DeleteBucketCors,
    /// A configuration this store has not: answered with what S3 says of a bucket that was never configured.
    GetBucketDefault(&'static str),
    PutBucketAcl,
    PutBucketVersioning,
    DeleteBucketDefault,
    ListObjects,
    ListObjectsV2,
    ListObjectVersions,
    ListMultipartUploads,
    DeleteObjects,
    GetObject,
    HeadObject,
    PutObject,
    CopyObject,
    DeleteObject,
    GetObjectAcl,
    PutObjectAcl,
    GetObjectTagging,
    DeleteObjectTagging,
    CreateMultipartUpload,
    UploadPart,
    UploadPartCopy,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListParts,
}

/// Bucket configurations that exist at S3 and are never set here.
const BUCKET_DEFAULTS: &[&str] = &[
    "accelerate",
    "acl",
    "encryption",
    "lifecycle",
    "logging",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "tagging",
    "versioning",
    "website",
];

/// Configurations whose removal succeeds because they are not there.
const REMOVABLE: &[&str] = &[
    "encryption",
    "lifecycle",
    "ownershipControls",
    "policy",
    "publicAccessBlock",
    "replication",
    "tagging",
    "website",
];

/// Subresources of objects that are not served.
const OBJECT_UNKNOWN: &[&str] = &["attributes", "legal-hold", "restore", "retention", "select", "torrent"];

/// A query as names and values.
pub struct Query(Vec<(String, Option<String>)>);

impl Query {
    pub fn parse(query: &str) -> Self {
        Self(s3sign::query_pairs(query).collect())
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(found, _)| found == name)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_deref().unwrap_or_default())
    }

    /// A number, if it is given; `InvalidArgument` if it is not one.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        let invalid = |_| Fault::invalid_argument(format!("{name} is not a valid number"));
        self.get(name).filter(|text| !text.is_empty()).map(|text| text.parse().map_err(invalid)).transpose()
    }
}

impl Operation {
    pub fn of(method: &Method, target: &Target, query: &Query, headers: &HeaderMap) -> Result<Self> {
        match (&target.bucket, &target.key) {
            (None, _) if method == Method::GET || method == Method::HEAD => Ok(Self::ListBuckets),
            (None, _) => Err(Fault::method_not_allowed()),
            (Some(_), None) => Self::of_bucket(method, query),
            (Some(_), Some(_)) => Self::of_object(method, query, headers.contains_key("x-amz-copy-source")),
        }
    }

    fn of_bucket(method: &Method, query: &Query) -> Result<Self> {
        let default = |names: &'static [&'static str]| names.iter().copied().find(|name| query.has(name));
        Ok(match *method {
            Method::GET if query.has("location") => Self::GetBucketLocation,
            Method::GET if query.has("cors") => Self::GetBucketCors,
            Method::GET if query.has("uploads") => Self::ListMultipartUploads,
            Method::GET if query.has("versions") => Self::ListObjectVersions,
            Method::GET => match default(BUCKET_DEFAULTS) {
                Some(name) => Self::GetBucketDefault(name),
                None if query.get("list-type") == Some("2") => Self::ListObjectsV2,
                None => Self::ListObjects,
            },
            Method::HEAD => Self::HeadBucket,
            Method::PUT if query.has("cors") => Self::PutBucketCors,
            Method::PUT if query.has("acl") => Self::PutBucketAcl,
            Method::PUT if query.has("versioning") => Self::PutBucketVersioning,
            Method::PUT if default(BUCKET_DEFAULTS).is_some() => return Err(Fault::not_implemented()),
            Method::PUT => Self::CreateBucket,
            Method::DELETE if query.has("cors") => Self::DeleteBucketCors,
            Method::DELETE if default(REMOVABLE).is_some() => Self::DeleteBucketDefault,
            Method::DELETE => Self::DeleteBucket,
            Method::POST if query.has("delete") => Self::DeleteObjects,
            Method::POST => return Err(Fault::not_implemented()),
            _ => return Err(Fault::method_not_allowed()),
        })
    }

    fn of_object(method: &Method, query: &Query, copies: bool) -> Result<Self> {
        if OBJECT_UNKNOWN.iter().any(|name| query.has(name)) {
            return Err(Fault::not_implemented());
        }
        Ok(match *method {
            Method::GET if query.has("uploadId") => Self::ListParts,
            Method::GET if query.has("acl") => Self::GetObjectAcl,
            Method::GET if query.has("tagging") => Self::GetObjectTagging,
            Method::GET => Self::GetObject,
            Method::HEAD => Self::HeadObject,
            Method::PUT if query.has("uploadId") && copies => Self::UploadPartCopy,
            Method::PUT if query.has("uploadId") => Self::UploadPart,
            Method::PUT if query.has("acl") => Self::PutObjectAcl,
            Method::PUT if query.has("tagging") => return Err(Fault::not_implemented()),
            Method::PUT if copies => Self::CopyObject,
            Method::PUT => Self::PutObject,
            Method::DELETE if query.has("uploadId") => Self::AbortMultipartUpload,
            Method::DELETE if query.has("tagging") => Self::DeleteObjectTagging,
            Method::DELETE => Self::DeleteObject,
            Method::POST if query.has("uploads") => Self::CreateMultipartUpload,
            Method::POST if query.has("uploadId") => Self::CompleteMultipartUpload,
            _ => return Err(Fault::method_not_allowed()),
        })
    }

    /// Its name in S3's documentation, for metrics.
    pub fn name(self) -> String {
        match self {
            Self::GetBucketDefault(_) => "GetBucketDefault".to_owned(),
            operation => format!("{operation:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: Method, bucket: bool, key: bool, query: &str) -> std::result::Result<Operation, &'static str> {
        let some = |there: bool| there.then(|| "x".to_owned());
        let target = Target { bucket: some(bucket), key: some(key), bucket_in_host: false };
        Operation::of(&method, &target, &Query::parse(query), &HeaderMap::new()).map_err(|fault| fault.code)
    }

    #[test]
    fn requests_are_what_s3_says_they_are() {
        use Operation::*;
        #[rustfmt::skip]
        let cases = [
            (Method::GET, false, false, "", Ok(ListBuckets)),
            (Method::GET, true, false, "", Ok(ListObjects)),
            (Method::GET, true, false, "list-type=2&prefix=a", Ok(ListObjectsV2)),
            (Method::GET, true, false, "lifecycle", Ok(GetBucketDefault("lifecycle"))),
            (Method::PUT, true, false, "", Ok(CreateBucket)),
            (Method::PUT, true, false, "lifecycle=", Err("NotImplemented")),
            (Method::POST, true, false, "delete", Ok(DeleteObjects)),
            (Method::GET, true, true, "x-id=GetObject", Ok(GetObject)),
            (Method::PUT, true, true, "partNumber=1&uploadId=u", Ok(UploadPart)),
            (Method::POST, true, true, "uploads", Ok(CreateMultipartUpload)),
            (Method::POST, true, true, "uploads=", Ok(CreateMultipartUpload)),
            (Method::POST, true, true, "uploadId=u", Ok(CompleteMultipartUpload)),
            (Method::DELETE, true, true, "uploadId=u", Ok(AbortMultipartUpload)),
            (Method::PATCH, true, true, "", Err("MethodNotAllowed")),
            (Method::PUT, false, false, "", Err("MethodNotAllowed")),
        ];
        for (method, bucket, key, query, expected) in cases {
            assert_eq!(of(method.clone(), bucket, key, query), expected, "{method} {bucket} {key} {query}");
        }
    }
}
