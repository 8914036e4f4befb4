//! Dependencies point down only, and services never depend on each other.
//!
//! A dev-dependency may reach any room: a test needs the real thing on the other side of a seam.

use super::floor;
use cargo_metadata::{DependencyKind, Metadata};
use std::collections::BTreeMap;

pub fn check(metadata: &Metadata) -> Vec<String> {
    let members: BTreeMap<&str, String> = metadata
        .workspace_packages()
        .into_iter()
        .map(|package| (package.name.as_str(), floor(metadata, package.manifest_path.as_std_path())))
        .collect();
    let mut problems = Vec::new();
    for package in metadata.workspace_packages() {
        let from = &members[package.name.as_str()];
        for dependency in &package.dependencies {
            let Some(to) = members.get(dependency.name.as_str()) else { continue };
            if dependency.kind == DependencyKind::Normal && !allowed(from, to) {
                problems.push(format!("{} ({from}) depends on {} ({to})", package.name, dependency.name));
            }
        }
    }
    problems
}

fn allowed(from: &str, to: &str) -> bool {
    match from {
        "core" => to == "core",
        "machinery" => to == "machinery",
        "services" | "fuzz" => matches!(to, "core" | "machinery"),
        "roadstead" | "tests" | "bench" => matches!(to, "core" | "machinery" | "services"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn edges_point_down_and_services_are_strangers() {
        assert!(allowed("services", "machinery") && allowed("services", "core") && allowed("roadstead", "services"));
        assert!(!allowed("services", "services") && !allowed("core", "machinery") && !allowed("machinery", "core"));
        assert!(!allowed("machinery", "services") && !allowed("services", "roadstead"));
    }

    #[test]
    fn this_workspace_keeps_the_directions() {
        let metadata = cargo_metadata::MetadataCommand::new().exec().unwrap();
        assert_eq!(super::check(&metadata), Vec::<String>::new());
    }
}
