//! The style guide as a test: each check returns what is wrong, by file and line; all are run, all are printed.

mod directions;
mod purity;
mod sizes;
mod specification;
mod text;

use anyhow::{Context, bail};
use cargo_metadata::{Metadata, MetadataCommand};
use std::path::{Path, PathBuf};

pub fn run() -> anyhow::Result<()> {
    let metadata = MetadataCommand::new().exec().context("read the workspace's metadata")?;
    let sources = sources()?;
    let checks: [(&str, Vec<String>); 5] = [
        ("directions of dependencies", directions::check(&metadata)),
        ("purity of core/", purity::check(&metadata, &sources)),
        ("sizes of files", sizes::check(&sources)),
        ("the specification", specification::check(&sources)?),
        ("texts", text::check(&metadata, &sources)),
    ];
    let mut wrong = 0;
    for (name, problems) in &checks {
        eprintln!("{} {name}", if problems.is_empty() { "ok  " } else { "FAIL" });
        for problem in problems {
            eprintln!("     {problem}");
        }
        wrong += problems.len();
    }
    if wrong > 0 {
        bail!("{wrong} problems");
    }
    Ok(())
}

/// A Rust file of the workspace, by its path from the root.
struct Source {
    path: PathBuf,
    text: String,
}

/// All Rust files, generated ones and the build directory excepted.
fn sources() -> anyhow::Result<Vec<Source>> {
    let mut found = Vec::new();
    let mut pending = vec![PathBuf::from(".")];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).with_context(|| format!("list {}", directory.display()))? {
            let entry = entry?;
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if entry.file_type()?.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "artefacts" {
                    pending.push(path);
                }
            } else if name.ends_with(".rs") {
                let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
                found.push(Source { path: path.strip_prefix(".").unwrap_or(&path).to_owned(), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The floor a package stands on: `core`, `machinery`, `services`, `roadstead`, or the package's own folder.
fn floor(metadata: &Metadata, manifest: &Path) -> String {
    let relative = manifest.strip_prefix(metadata.workspace_root.as_std_path()).unwrap_or(manifest);
    let first = relative.components().next();
    first.map(|component| component.as_os_str().to_string_lossy().into_owned()).unwrap_or_default()
}
