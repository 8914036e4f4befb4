//! Small rules about text: lints are inherited, errors do not print their cause, unsafe code stays in its rooms, and no
//! path of one machine is committed.

use super::Source;
use cargo_metadata::Metadata;

/// Files that may hold unsafe code; each block in them says why it is sound.
const UNSAFE_ROOMS: [&str; 7] = [
    "machinery/runtime/src/shim/capabilities.rs",
    "machinery/etcd/src/death.rs",
    "services/edge/src/succession/descriptors.rs",
    "services/vip/src/realtime.rs",
    "roadstead/src/up/replace/between.rs",
    "core/routing/tests/allocations.rs",
    "fuzz/src/coverage.rs",
];

/// Directories at the root of somebody's machine: a path into them works there only.
const MACHINE_DIRECTORIES: [&str; 4] = ["work", "farm", "root", "home"];

pub fn check(metadata: &Metadata, sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for package in metadata.workspace_packages() {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap_or_default();
        if !manifest.contains("[lints]\nworkspace = true") {
            problems.push(format!("{}: needs `[lints] workspace = true`", package.manifest_path));
        }
    }
    // The README's first command is `cargo run -- demo`: it must not have to ask which binary.
    let defaults: Vec<_> =
        metadata.workspace_default_packages().iter().map(|package| package.name.to_string()).collect();
    if defaults != ["roadstead"] {
        problems.push(format!("Cargo.toml: `default-members` must be roadstead alone, not {defaults:?}"));
    }
    for source in sources {
        let own = source.path.ends_with("tidy/text.rs");
        for (number, line) in source.text.lines().enumerate() {
            let mut problem = |what: &str| problems.push(format!("{}:{}: {what}", source.path.display(), number + 1));
            if !own && line.contains("#[error(") && (line.contains("{source}") || line.contains("{source:")) {
                problem("an error's message leaves its cause to source()");
            }
            if !own
                && line.contains("allow(unsafe_code)")
                && !UNSAFE_ROOMS.iter().any(|room| source.path.ends_with(room))
            {
                problem("unsafe code outside its rooms (xtask/src/tidy/text.rs lists them)");
            }
            if !own && MACHINE_DIRECTORIES.iter().any(|name| line.contains(&format!("\"/{name}/"))) {
                problem("a path of one machine");
            }
        }
    }
    problems
}
