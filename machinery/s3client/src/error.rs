use crate::upload::PARTS_MAX;
use http::StatusCode;

#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    #[error("S3 endpoint {endpoint:?} is not http://HOST[:PORT]")]
    Endpoint { endpoint: String },
    #[error("use the S3 keys")]
    Credentials { source: s3sign::InvalidCredentials },
    #[error("sign the request for {resource}")]
    Sign { resource: String, source: s3sign::SignError },
    #[error("build the request for {resource}")]
    Request { resource: String, source: http::Error },
    #[error("call S3 for {resource}")]
    Call { resource: String, source: web::ClientError },
    /// S3's own words.
    #[error("{method} {resource}: S3 answered {status} {code} {message}")]
    Refused { method: String, resource: String, status: StatusCode, code: String, message: String },
    #[error("read S3's answer for {resource}")]
    Body { resource: String, source: lifecycle::BoxError },
    #[error("S3's answer for {resource} is not the expected XML")]
    Xml { resource: String, source: quick_xml::DeError },
    #[error("S3's answer for {resource} lacks {what}")]
    Lacks { resource: String, what: &'static str },
    #[error("upload of {resource} has more than {PARTS_MAX} parts")]
    TooLarge { resource: String },
}

impl S3Error {
    /// S3's error code, such as `NoSuchKey`. For a HEAD, whose answer has no body, the one its status stands for.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, .. })
    }

    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::FORBIDDEN, .. })
    }

    /// Whether trying again may help.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Call { .. } | Self::Body { .. } => true,
            Self::Refused { status, .. } => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            _ => false,
        }
    }
}
