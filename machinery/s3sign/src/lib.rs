//! S3 signatures, both sides
