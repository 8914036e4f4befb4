//! The story, end to end, and conformance with real clients
