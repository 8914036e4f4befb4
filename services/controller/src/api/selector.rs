//! Label selectors: `k`, `k==v`, `k!=v`, `k in (a, b)`, `k notin (a, b)`, joined by commas, all of which must hold.

use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(Vec<Condition>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Selector {
    /// `None` when the text is not a selector.
    pub fn parse(text: &str) -> Option<Self> {
        split_outside_parentheses(text)?.into_iter().map(condition).collect::<Option<Vec<_>>>().map(Self)
    }

    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|condition| {
            let value = labels.get(&condition.key);
            match &condition.test {
                Test::Exists => value.is_some(),
                Test::In(values) => value.is_some_and(|value| values.contains(value)),
                Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            }
        })
    }
}

fn split_outside_parentheses(text: &str) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (index, character) in text.char_indices() {
        match character {
            '(' if inside => return None,
            '(' => inside = true,
            ')' if !inside => return None,
            ')' => inside = false,
            ',' if !inside => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!inside).then_some(parts)
}

fn condition(text: &str) -> Option<Condition> {
    let made = |key: &str, test| {
        let key = key.trim();
        let is_word = !key.is_empty() && !key.contains(char::is_whitespace) && !key.contains(['(', ')', '=', '!']);
        is_word.then(|| Condition { key: key.to_owned(), test })
    };
    if let Some((key, value)) = text.split_once("!=") {
        return made(key, Test::NotIn(vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = text.split_once("==") {
        return made(key, Test::In(vec![value.trim().to_owned()]));
    }
    if let Some((head, list)) = text.trim().strip_suffix(')').and_then(|text| text.split_once('(')) {
        let values = list.split(',').map(|value| value.trim().to_owned()).collect();
        let head = head.trim_end();
        return match head.rsplit_once(char::is_whitespace)? {
            (key, "in") => made(key, Test::In(values)),
            (key, "notin") => made(key, Test::NotIn(values)),
            _ => None,
        };
    }
    made(text, Test::Exists)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_selects() {
        let labels = BTreeMap::from([("tier".to_owned(), "web".to_owned())]);
        for (text, expected) in [
            ("tier", true),
            ("owner", false),
            ("tier==web", true),
            ("tier != web", false),
            ("tier in (db, web)", true),
            ("tier notin (db, web), tier", false),
            ("tier,owner!=me", true),
        ] {
            assert_eq!(Selector::parse(text).unwrap().matches(&labels), expected, "{text}");
        }
        for text in ["tier in (a", "tier x (a)", "", "a b"] {
            assert_eq!(Selector::parse(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _selector = Selector::parse(&text);
        }
    }
}
