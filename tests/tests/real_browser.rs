//! The article's page in a real browser.
