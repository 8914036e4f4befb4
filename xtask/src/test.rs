//! Runs the tests.

use crate::{setup, shell};
use cargo_metadata::MetadataCommand;

pub fn run(real: bool, rest: &[String]) -> anyhow::Result<()> {
    let mut arguments = vec!["test".to_owned(), "--workspace".to_owned(), "--no-fail-fast".to_owned()];
    if real {
        setup::run()?;
        arguments.extend(["--features".to_owned(), real_features()?.join(",")]);
    }
    arguments.extend_from_slice(rest);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    shell::run("cargo", &arguments)
}

/// `crate/real` for every crate that has tests against real peers.
fn real_features() -> anyhow::Result<Vec<String>> {
    let metadata = MetadataCommand::new().no_deps().exec()?;
    let with_real = metadata.packages.iter().filter(|package| package.features.contains_key("real"));
    Ok(with_real.map(|package| format!("{}/real", package.name)).collect())
}
