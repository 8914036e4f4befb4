//! What each operation does, one file per family.

mod bucket;
mod copy;
mod delete;
mod get;
mod list;
mod multipart;
mod put;

use crate::fault::Result;
use crate::operation::Operation;
use crate::service::{Call, Service};
use axum::body::Body;
use http::Response;

pub async fn run(service: &Service, operation: Operation, call: &Call, body: Body) -> Result<Response<Body>> {
    use Operation::*;
    match operation {
        ListBuckets => bucket::list(service, call),
        CreateBucket => bucket::create(service, call, body).await,
        HeadBucket => bucket::head(service, call),
        DeleteBucket => bucket::delete(service, call).await,
        GetBucketLocation => bucket::location(service, call),
        GetBucketCors => bucket::get_cors(service, call),
        PutBucketCors => bucket::put_cors(service, call, body).await,
        DeleteBucketCors => bucket::delete_cors(service, call).await,
        GetBucketDefault(name) => bucket::default_document(service, call, name),
        PutBucketAcl | PutBucketVersioning => bucket::put_ignored(service, operation, call, body).await,
        DeleteBucketDefault => bucket::delete_default(service, call),
        ListObjects => list::version_1(service, call),
        ListObjectsV2 => list::version_2(service, call),
        ListObjectVersions => list::versions(service, call),
        DeleteObjects => delete::many(service, call, body).await,
        DeleteObject => delete::one(service, call).await,
        GetObject | HeadObject => get::object(service, call).await,
        GetObjectAcl => get::acl(service, call),
        GetObjectTagging => get::tagging(service, call),
        PutObjectAcl | DeleteObjectTagging => get::existing(service, call),
        PutObject => put::object(service, call, body).await,
        CopyObject => copy::object(service, call).await,
        UploadPartCopy => copy::part(service, call).await,
        CreateMultipartUpload => multipart::create(service, call).await,
        UploadPart => multipart::upload_part(service, call, body).await,
        CompleteMultipartUpload => multipart::complete(service, call, body).await,
        AbortMultipartUpload => multipart::abort(service, call).await,
        ListParts => multipart::list_parts(service, call),
        ListMultipartUploads => multipart::list_uploads(service, call),
    }
}
