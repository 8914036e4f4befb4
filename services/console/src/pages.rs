//! The pages. Each is a function from what was read to HTML.

pub mod app;
pub mod apps;
pub mod certificates;
mod cluster;
pub mod confirm;
pub mod deployments;
pub mod failure;
mod layout;
pub mod nodes;
mod parts;

pub use layout::{Frame, Section};
pub use parts::app_link;
