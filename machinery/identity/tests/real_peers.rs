//! The certificates and the TLS faces, met by tools that others made.
