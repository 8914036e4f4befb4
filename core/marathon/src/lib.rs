//! Marathon's JSON dialects
