//! Each promise in SPECIFICATION.md names the tests that show it, or says "not yet".
//!
//! A promise is a list item that ends with `[test: NAME, NAME]`, `[bench: NAME]` or `[not yet]`; a test's name is that of
//! a function in the workspace.

use super::Source;
use anyhow::Context;

const FILE: &str = "SPECIFICATION.md";

pub fn check(sources: &[Source]) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(FILE).with_context(|| format!("read {FILE}"))?;
    let is_function = |name: &str| {
        let (call, generic) = (format!("fn {name}("), format!("fn {name}<"));
        sources.iter().any(|source| source.text.contains(&call) || source.text.contains(&generic))
    };
    Ok(problems(&text, &is_function))
}

fn problems(text: &str, is_function: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut problems = Vec::new();
    for (number, promise) in promises(text) {
        let place = format!("{FILE}:{number}");
        let Some((_, proof)) = promise.strip_suffix(']').and_then(|promise| promise.rsplit_once('[')) else {
            problems.push(format!("{place}: a promise ends with [test: NAME], [bench: NAME] or [not yet]"));
            continue;
        };
        match proof.split_once(": ") {
            Some(("test", names)) => {
                for name in names.split(", ").filter(|name| !is_function(name)) {
                    problems.push(format!("{place}: there is no test `{name}`"));
                }
            }
            Some(("bench", _)) => {}
            _ if proof == "not yet" || proof.starts_with("not yet: ") => {}
            _ => problems.push(format!("{place}: `[{proof}]` is not a proof")),
        }
    }
    problems
}

/// List items with the number of their first line; an item goes on over indented lines.
fn promises(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        if let Some(item) = line.strip_prefix("- ") {
            found.push((index + 1, item.trim_end().to_owned()));
            open = true;
        } else if open && line.starts_with("  ") {
            if let Some((_, item)) = found.last_mut() {
                item.push(' ');
                item.push_str(line.trim());
            }
        } else {
            open = false;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::problems;

    #[test]
    fn a_promise_needs_a_proof_that_exists() {
        let known = |name: &str| name == "survives";
        assert!(problems("- durable\n  over lines [test: survives]\n- later [not yet]\n", &known).is_empty());
        assert_eq!(problems("- durable [test: dreams]\n", &known), ["SPECIFICATION.md:1: there is no test `dreams`"]);
        assert_eq!(problems("- durable\n", &known).len(), 1);
        assert_eq!(problems("- durable [trust me]\n", &known).len(), 1);
    }
}
