//! vulcand's keys and JSON
