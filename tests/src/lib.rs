//! The story, end to end, and conformance with real clients: what the tests share.

pub mod pics_page;
pub mod picture;
pub mod webdriver;
