//! The whole controller over an embedded store, with agents and edges of the test's own over real gRPC.

mod cluster;
mod drains;
mod history;
mod outages;
mod records;
mod restarts;
mod silence;
mod stage;
mod stories;
mod trial;
mod troubles;
