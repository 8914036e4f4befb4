//! The reverse proxy
