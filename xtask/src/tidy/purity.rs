//! core/ is pure: no runtime, no sockets, no files, no clock, no randomness; not by its crates, and not by its text.

use super::{Source, floor};
use cargo_metadata::{DependencyKind, Metadata, PackageId};
use std::collections::BTreeSet;

/// Packages that do I/O, run things or draw random numbers.
const CRATES: [&str; 9] = ["tokio", "mio", "socket2", "hyper", "nix", "libc", "rand", "getrandom", "async-std"];

/// Text that reaches for the outside, and what to do instead.
const TEXTS: [(&str, &str); 9] = [
    ("Instant::now", "take the time as an argument"),
    ("SystemTime", "take a model::Timestamp as an argument"),
    ("Timestamp::now", "take the time as an argument"),
    ("std::net::Tcp", "leave sockets to a service"),
    ("std::net::Udp", "leave sockets to a service"),
    ("std::fs", "leave files to machinery"),
    ("std::thread", "leave threads to a service"),
    ("std::env", "take configuration as an argument"),
    ("std::process", "leave processes to machinery"),
];

pub fn check(metadata: &Metadata, sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for package in metadata.workspace_packages() {
        if floor(metadata, package.manifest_path.as_std_path()) == "core" {
            for name in reachable(metadata, &package.id).iter().filter(|name| CRATES.contains(&name.as_str())) {
                problems.push(format!("{} reaches the crate {name}", package.name));
            }
        }
    }
    // An example may take the time of what it shows.
    let is_core =
        |source: &&Source| source.path.starts_with("core") && !source.path.iter().any(|part| part == "examples");
    for source in sources.iter().filter(is_core) {
        for (number, line) in source.text.lines().enumerate() {
            for (text, instead) in TEXTS.iter().filter(|(text, _)| line.contains(text)) {
                problems.push(format!("{}:{}: `{text}`: {instead}", source.path.display(), number + 1));
            }
        }
    }
    problems
}

/// Names of every package that a package needs to run.
fn reachable(metadata: &Metadata, from: &PackageId) -> BTreeSet<String> {
    let Some(resolve) = &metadata.resolve else { return BTreeSet::new() };
    let mut seen: BTreeSet<&PackageId> = BTreeSet::new();
    let mut pending = vec![from];
    while let Some(id) = pending.pop() {
        let Some(node) = resolve.nodes.iter().find(|node| node.id == *id) else { continue };
        for dependency in &node.deps {
            let runs = dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
            // Compile-time only: a procedural macro's own dependencies never reach the program.
            if runs && !is_macro(metadata, &dependency.pkg) && seen.insert(&dependency.pkg) {
                pending.push(&dependency.pkg);
            }
        }
    }
    seen.into_iter().map(|id| metadata[id].name.to_string()).collect()
}

fn is_macro(metadata: &Metadata, id: &PackageId) -> bool {
    metadata[id].targets.iter().any(|target| target.is_proc_macro())
}
