//! Runs the targets of `fuzz/`, compiled so that they say where they come to.

use crate::shell;

/// LLVM's counters, which `fuzz/src/coverage.rs` reads; and what a release leaves unchecked is checked.
const FLAGS: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=3",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cdebug-assertions=on",
    "-Coverflow-checks=on",
];

pub fn run(targets: &[String], minutes: f64, seed: Option<u64>) -> anyhow::Result<()> {
    // With a target named, build scripts and procedural macros, which nobody asks for counters, are compiled without.
    let host = shell::output("rustc", &["--print", "host-tuple"])?;
    let flags = format!("RUSTFLAGS={}", FLAGS.join(" "));
    let build = [
        "cargo",
        "run",
        "--release",
        "--package",
        "fuzz",
        "--target",
        host.trim(),
        "--target-dir",
        "target/fuzz",
        "--",
    ];
    let minutes = minutes.to_string();
    let mut arguments = vec![flags.as_str()];
    arguments.extend(build);
    arguments.extend(["--minutes", &minutes]);
    let seed = seed.map(|seed| seed.to_string());
    seed.iter().for_each(|seed| arguments.extend(["--seed", seed]));
    arguments.extend(targets.iter().map(String::as_str));
    shell::run("env", &arguments)
}
