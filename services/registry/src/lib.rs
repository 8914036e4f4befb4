//! OCI distribution over object storage
