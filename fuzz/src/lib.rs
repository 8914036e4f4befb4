//! Everything that reads bytes of strangers, off the network or out of the store, tried on bytes that are nearly right.
//!
//! A [`Target`] is a function of bytes that panics when something does not hold. No panic of the code itself is the least;
//! each target says what else it looks for: that what was written reads the same, that the pieces in which bytes come change
//! nothing, that two ways to one answer meet.
//!
//! # The driver
//! [`driver::run`] takes a seed from the target's corpus, changes it ([`mutate`]: bits, bytes, pieces, lines, numbers, words of
//! the target's own language), and runs the target. The seed of its random numbers is printed; with it a run is repeated.
//! Where the code was compiled with LLVM's counters (`cargo xtask fuzz` does so, on the stable toolchain), an input that
//! came somewhere new joins the corpus of the run: [`coverage`]. Without them (in `cargo test`) it is as blind as a
//! property test.
//!
//! # Corpus
//! One file per target in `corpus/`, one seed per line, with Rust's escapes for what is no text. What was found once stays
//! there. Rejected: cargo-fuzz, whose libFuzzer wants a C++ compiler in everybody's build; [`Target::run`] is what its
//! `fuzz_target!` would call.

pub mod corpus;
pub mod coverage;
pub mod driver;
pub mod json;
pub mod mutate;
pub mod random;
mod targets;

pub use targets::{Target, all};
