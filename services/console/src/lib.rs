//! Web pages for people
