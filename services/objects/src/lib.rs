//! The S3 face over the object log
