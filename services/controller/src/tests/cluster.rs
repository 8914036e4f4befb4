//! Several controllers on one store, with real certificates, each in a runtime of its own, so that one can be killed
//! without a chance to say goodbye.

mod join;
mod lab;
mod passed_on;
mod removal;
mod takeover;
mod trust;
