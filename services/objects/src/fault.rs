//! What S3 answers when it says no: `Code`, `Message`, `Resource`, `RequestId`.

use crate::xml::Xml;
use http::{HeaderName, HeaderValue, StatusCode};
use objectlog::Error as LogError;
use s3sign::SignatureError;
use s3sign::chunked::ChunkError;

/// A refusal. The cause of an internal one is for the log, not for the client.
#[derive(Debug)]
pub struct Fault {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub cause: Option<lifecycle::BoxError>,
}

pub type Result<T> = std::result::Result<T, Fault>;

/// The codes this face uses, with their status and usual words.
macro_rules! faults {
    ($($name:ident $status:literal $code:literal $message:literal;)*) => {
        impl Fault {
            $(pub fn $name() -> Self { Self::new($status, $code, $message) })*
        }
    };
}

faults! {
    access_denied 403 "AccessDenied" "Access Denied";
    bad_digest 400 "BadDigest" "The Content-MD5 or checksum you specified did not match what we received.";
    bucket_already_exists 409 "BucketAlreadyExists" "The requested bucket name is not available.";
    bucket_not_empty 409 "BucketNotEmpty" "The bucket you tried to delete is not empty.";
    entity_too_large 400 "EntityTooLarge" "Your proposed upload exceeds the maximum allowed object size.";
    entity_too_small 400 "EntityTooSmall" "Your proposed upload is smaller than the minimum allowed object size.";
    incomplete_body 400 "IncompleteBody" "You did not provide the number of bytes specified by the Content-Length HTTP header.";
    internal 500 "InternalError" "We encountered an internal error. Please try again.";
    invalid_bucket_name 400 "InvalidBucketName" "The specified bucket is not valid.";
    invalid_digest 400 "InvalidDigest" "The Content-MD5 you specified is not valid.";
    invalid_part 400 "InvalidPart" "One or more of the specified parts could not be found, or its ETag does not match.";
    invalid_part_order 400 "InvalidPartOrder" "The list of parts was not in ascending order.";
    invalid_range 416 "InvalidRange" "The requested range is not satisfiable";
    key_too_long 400 "KeyTooLongError" "Your key is too long";
    malformed_xml 400 "MalformedXML" "The XML you provided was not well-formed or did not validate against our published schema";
    metadata_too_large 400 "MetadataTooLarge" "Your metadata headers exceed the maximum allowed metadata size";
    method_not_allowed 405 "MethodNotAllowed" "The specified method is not allowed against this resource.";
    missing_content_length 411 "MissingContentLength" "You must provide the Content-Length HTTP header.";
    no_such_bucket 404 "NoSuchBucket" "The specified bucket does not exist";
    no_such_cors 404 "NoSuchCORSConfiguration" "The CORS configuration does not exist";
    no_such_key 404 "NoSuchKey" "The specified key does not exist.";
    no_such_upload 404 "NoSuchUpload" "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.";
    not_implemented 501 "NotImplemented" "A header or query you provided implies functionality that is not implemented.";
    precondition_failed 412 "PreconditionFailed" "At least one of the pre-conditions you specified did not hold";
    request_timeout 400 "RequestTimeout" "Your socket connection to the server was not read from or written to within the timeout period.";
    content_hash_mismatch 400 "XAmzContentSHA256Mismatch" "The provided 'x-amz-content-sha256' header does not match what was computed.";
    cors_forbidden 403 "AccessForbidden" "CORSResponse: This CORS request is not allowed.";
}

impl Fault {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code, message: message.into(), headers: Vec::new(), cause: None }
    }

    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidArgument", message)
    }

    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidRequest", message)
    }

    /// 304 has neither code nor body.
    pub fn not_modified(headers: Vec<(HeaderName, HeaderValue)>) -> Self {
        Self { headers, ..Self::new(304, "NotModified", "") }
    }

    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub fn document(&self, resource: &str, request_id: &str) -> String {
        let mut xml = Xml::new();
        xml.group("Error", |xml| {
            xml.text("Code", self.code);
            xml.text("Message", &self.message);
            xml.text("Resource", resource);
            xml.text("RequestId", request_id);
            xml.text("HostId", crate::service::HOST_ID);
        });
        xml.finish()
    }
}

impl From<SignatureError> for Fault {
    fn from(error: SignatureError) -> Self {
        Self::new(error.status().as_u16(), error.code(), error.to_string())
    }
}

impl From<ChunkError> for Fault {
    fn from(error: ChunkError) -> Self {
        let status = if matches!(error, ChunkError::Mismatch) { 403 } else { 400 };
        Self::new(status, error.code(), error.to_string())
    }
}

impl From<LogError> for Fault {
    fn from(error: LogError) -> Self {
        match error {
            LogError::NoSuchBucket { .. } => Self::no_such_bucket(),
            LogError::NoSuchObject { .. } => Self::no_such_key(),
            LogError::NoSuchUpload { .. } => Self::no_such_upload(),
            LogError::BucketExists { .. } => Self::bucket_already_exists(),
            LogError::BucketNotEmpty { .. } => Self::bucket_not_empty(),
            LogError::InvalidPart { .. } => Self::invalid_part(),
            LogError::InvalidPartOrder { .. } => Self::invalid_part_order(),
            LogError::PartTooSmall { .. } => Self::entity_too_small(),
            LogError::Precondition { .. } => Self::precondition_failed(),
            error => Self { cause: Some(error.into()), ..Self::internal() },
        }
    }
}
