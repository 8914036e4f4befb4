//! A file that outgrew a reader's head is split by noun.

use super::Source;

const LINES_MAX: usize = 800;

/// Files that may be longer, each with its reason; at most five.
const LONGER: [(&str, &str); 0] = [];
const LONGER_MAX: usize = 5;
const _: () = assert!(LONGER.len() <= LONGER_MAX);

pub fn check(sources: &[Source]) -> Vec<String> {
    let long = |source: &&Source| {
        let listed = LONGER.iter().any(|(path, _)| source.path.ends_with(path));
        source.text.lines().count() > LINES_MAX && !listed
    };
    let problem = |source: &Source| {
        let lines = source.text.lines().count();
        format!("{}: {lines} lines, at most {LINES_MAX}", source.path.display())
    };
    sources.iter().filter(long).map(problem).collect()
}
