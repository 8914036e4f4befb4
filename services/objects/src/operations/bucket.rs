//! Buckets and their configuration.

use crate::address::is_bucket_name;
use crate::cors::{self, Rules};
use crate::fault::{Fault, Result};
use crate::operation::Operation;
use crate::receive;
use crate::service::{Call, Service, empty_response, iso_date, now_ms, xml_response};
use crate::xml::Xml;
use axum::body::Body;
use http::header::LOCATION;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use objectlog::{BucketInfo, Error as LogError};

/// Buckets in one answer (S3).
const BUCKETS_MAX: usize = 10_000;
/// Every region is this one; clients sign for whatever they like.
const REGION: &str = "us-east-1";
const GRANTEE: &str = " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"";

pub fn list(service: &Service, call: &Call) -> Result<Response<Body>> {
    let prefix = call.query.get("prefix").unwrap_or_default();
    let after = call.query.get("continuation-token").unwrap_or_default();
    let count_max = call.query.number::<usize>("max-buckets")?.unwrap_or(BUCKETS_MAX).clamp(1, BUCKETS_MAX);
    let mut buckets: Vec<BucketInfo> = service.log.buckets();
    buckets.retain(|bucket| {
        let name = bucket.name.as_str();
        call.caller.may_use(name) && name.starts_with(prefix) && name > after
    });
    let is_truncated = buckets.len() > count_max;
    buckets.truncate(count_max);
    Ok(xml_response(Xml::document("ListAllMyBucketsResult", |xml| {
        if let Some(last) = buckets.last().filter(|_| is_truncated) {
            xml.text("ContinuationToken", &last.name);
        }
        owner(xml, "Owner", &call.caller.access_key);
        xml.group("Buckets", |xml| {
            for bucket in &buckets {
                xml.group("Bucket", |xml| {
                    xml.text("Name", &bucket.name);
                    xml.text("CreationDate", iso_date(bucket.created_ms));
                });
            }
        });
    })))
}

pub async fn create(service: &Service, call: &Call, body: Body) -> Result<Response<Body>> {
    if !is_bucket_name(&call.bucket) {
        return Err(Fault::invalid_bucket_name());
    }
    // The body may name a region, which is read so that the signature holds, and changes nothing.
    receive::document(&call.head.headers, call.caller.payload.clone(), body).await?;
    match service.log.create_bucket(&call.bucket, &call.caller.access_key, now_ms()).await {
        Ok(()) => {}
        Err(LogError::BucketExists { .. }) => {
            // As in S3's us-east-1: to make one's own bucket again is no error.
            if info(service, &call.bucket)?.owner != call.caller.access_key {
                return Err(Fault::bucket_already_exists());
            }
        }
        Err(error) => return Err(error.into()),
    }
    let mut response = empty_response(StatusCode::OK);
    if let Ok(location) = HeaderValue::try_from(format!("/{}", call.bucket)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

pub fn head(service: &Service, call: &Call) -> Result<Response<Body>> {
    info(service, &call.bucket)?;
    let mut response = empty_response(StatusCode::OK);
    let region = HeaderName::from_static("x-amz-bucket-region");
    response.headers_mut().insert(region, HeaderValue::from_static(REGION));
    Ok(response)
}

pub async fn delete(service: &Service, call: &Call) -> Result<Response<Body>> {
    service.log.delete_bucket(&call.bucket).await?;
    Ok(empty_response(StatusCode::NO_CONTENT))
}

/// Empty means us-east-1.
pub fn location(service: &Service, call: &Call) -> Result<Response<Body>> {
    info(service, &call.bucket)?;
    Ok(xml_response(Xml::document("LocationConstraint", |_| {})))
}

pub fn get_cors(service: &Service, call: &Call) -> Result<Response<Body>> {
    let document = service.log.document(&call.bucket, cors::DOCUMENT)?.ok_or_else(Fault::no_such_cors)?;
    Ok(xml_response(document.to_string()))
}

pub async fn put_cors(service: &Service, call: &Call, body: Body) -> Result<Response<Body>> {
    info(service, &call.bucket)?;
    let document = receive::document(&call.head.headers, call.caller.payload.clone(), body).await?;
    let rules = Rules::parse(&document)?;
    service.log.set_document(&call.bucket, cors::DOCUMENT, Some(rules.to_xml())).await?;
    Ok(empty_response(StatusCode::OK))
}

pub async fn delete_cors(service: &Service, call: &Call) -> Result<Response<Body>> {
    service.log.set_document(&call.bucket, cors::DOCUMENT, None).await?;
    Ok(empty_response(StatusCode::NO_CONTENT))
}

/// What S3 says of a configuration that was never made: clients read all of them and expect these words.
pub fn default_document(service: &Service, call: &Call, name: &str) -> Result<Response<Body>> {
    let owner_name = info(service, &call.bucket)?.owner;
    let missing = |code, message: &str| Err(Fault::new(404, code, message));
    let empty = |root| Ok(xml_response(Xml::document(root, |_| {})));
    match name {
        "acl" => Ok(xml_response(acl(&owner_name))),
        "versioning" => empty("VersioningConfiguration"),
        "logging" => empty("BucketLoggingStatus"),
        "notification" => empty("NotificationConfiguration"),
        "accelerate" => empty("AccelerateConfiguration"),
        "requestPayment" => Ok(xml_response(Xml::document("RequestPaymentConfiguration", |xml| {
            xml.text("Payer", "BucketOwner");
        }))),
        "policyStatus" => Ok(xml_response(Xml::document("PolicyStatus", |xml| xml.text("IsPublic", "false")))),
        "policy" => missing("NoSuchBucketPolicy", "The bucket policy does not exist"),
        "lifecycle" => missing("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist"),
        "tagging" => missing("NoSuchTagSet", "The TagSet does not exist"),
        "website" => {
            missing("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration")
        }
        "encryption" => missing(
            "ServerSideEncryptionConfigurationNotFoundError",
            "The server side encryption configuration was not found",
        ),
        "replication" => {
            missing("ReplicationConfigurationNotFoundError", "The replication configuration was not found")
        }
        "ownershipControls" => {
            missing("OwnershipControlsNotFoundError", "The bucket ownership controls were not found")
        }
        "publicAccessBlock" => {
            missing("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found")
        }
        "object-lock" => {
            missing("ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket")
        }
        _ => Err(Fault::not_implemented()),
    }
}

/// Canned ACLs are accepted and change nothing: only credentials decide. Versioning can be asked to stay off.
pub async fn put_ignored(service: &Service, operation: Operation, call: &Call, body: Body) -> Result<Response<Body>> {
    info(service, &call.bucket)?;
    let document = receive::document(&call.head.headers, call.caller.payload.clone(), body).await?;
    let enables = document.windows(b"Enabled".len()).any(|window| window == b"Enabled");
    if operation == Operation::PutBucketVersioning && enables {
        return Err(Fault::not_implemented());
    }
    Ok(empty_response(StatusCode::OK))
}

pub fn delete_default(service: &Service, call: &Call) -> Result<Response<Body>> {
    info(service, &call.bucket)?;
    Ok(empty_response(StatusCode::NO_CONTENT))
}

pub fn info(service: &Service, bucket: &str) -> Result<BucketInfo> {
    service.log.bucket(bucket).ok_or_else(Fault::no_such_bucket)
}

pub fn owner(xml: &mut Xml, element: &str, name: &str) {
    xml.group(element, |xml| {
        xml.text("ID", name);
        xml.text("DisplayName", name);
    });
}

/// The owner may do everything, nobody else anything.
pub fn acl(owner_name: &str) -> String {
    Xml::document("AccessControlPolicy", |xml| {
        owner(xml, "Owner", owner_name);
        xml.group("AccessControlList", |xml| {
            xml.group("Grant", |xml| {
                xml.element("Grantee", GRANTEE, |xml| {
                    xml.text("ID", owner_name);
                    xml.text("DisplayName", owner_name);
                });
                xml.text("Permission", "FULL_CONTROL");
            });
        });
    })
}
