//! Durable objects: log, extents, index
