//! Why a signature was refused, with the code S3 has for it; and why one could not be made.

use http::StatusCode;

/// Why a request's credentials were refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SignatureError {
    #[error("the request carries no credentials")]
    Missing,
    #[error("the request carries credentials both in its header and in its query, or twice")]
    Ambiguous,
    #[error("the Authorization header is malformed: {0}")]
    MalformedHeader(&'static str),
    #[error("the query's authentication parameters are malformed: {0}")]
    MalformedQuery(&'static str),
    #[error("the scheme of the Authorization header is not supported")]
    UnknownScheme,
    #[error("the access key does not exist")]
    UnknownAccessKey,
    #[error("the request is not dated, or its date cannot be read")]
    MissingDate,
    #[error("the difference between the request's time and the server's time is too large")]
    TimeTooSkewed,
    #[error("request has expired")]
    Expired,
    #[error("request is not valid yet")]
    NotYetValid,
    #[error("there were headers present in the request which were not signed: {0}")]
    UnsignedHeader(String),
    #[error("missing required header for this request: x-amz-content-sha256")]
    MissingContentHash,
    #[error("the value of x-amz-content-sha256 is neither a SHA-256 nor a payload mode this server knows")]
    InvalidContentHash,
    #[error("the request signature we calculated does not match the signature you provided")]
    Mismatch,
}

impl SignatureError {
    /// The error code of S3's error document.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing | Self::Expired | Self::NotYetValid | Self::UnsignedHeader(_) | Self::MissingDate => {
                "AccessDenied"
            }
            Self::Ambiguous | Self::UnknownScheme | Self::MissingContentHash => "InvalidRequest",
            Self::InvalidContentHash => "InvalidArgument",
            Self::MalformedHeader(_) => "AuthorizationHeaderMalformed",
            Self::MalformedQuery(_) => "AuthorizationQueryParametersError",
            Self::UnknownAccessKey => "InvalidAccessKeyId",
            Self::TimeTooSkewed => "RequestTimeTooSkewed",
            Self::Mismatch => "SignatureDoesNotMatch",
        }
    }

    pub fn status(&self) -> StatusCode {
        match self.code() {
            "AccessDenied" | "InvalidAccessKeyId" | "RequestTimeTooSkewed" | "SignatureDoesNotMatch" => {
                StatusCode::FORBIDDEN
            }
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Why a request could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("a presigned URL may live between 1 second and 7 days")]
    Expires,
    #[error("the value of {0} cannot be written into a header")]
    Unprintable(&'static str),
}
