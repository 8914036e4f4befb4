//! What an app's label asks the edges to do to its requests.

use lifecycle::ErrorChain;
use middleware::Chain;
use model::App;
use serde_json::{Value, json};

/// A JSON list, as a route document's `middlewares` (docs/middlewares.md).
pub(super) const LABEL: &str = "roadstead.middlewares";

/// What is wrong with an app's label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadLabel {
    pub label: &'static str,
    pub message: String,
}

/// Whether edges can do what the label asks for.
pub(super) fn check(app: &App) -> Result<(), BadLabel> {
    let Some(text) = app.labels.get(LABEL) else { return Ok(()) };
    let wrong = |message| BadLabel { label: LABEL, message };
    let list = list(text).map_err(wrong)?;
    Chain::read(&list, None).map(drop).map_err(|error| wrong(ErrorChain(&error).to_string()))
}

/// As a route document has them. A label that is no list, which an app of an earlier version may have, becomes something
/// that no edge can read: it refuses rather than serve without what was asked for.
pub(super) fn of(app: &App) -> Vec<Value> {
    let unreadable = |text: &String| vec![json!({ "label": LABEL, "value": text })];
    app.labels.get(LABEL).map(|text| list(text).unwrap_or_else(|_| unreadable(text))).unwrap_or_default()
}

fn list(text: &str) -> Result<Vec<Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Array(list)) => Ok(list),
        Ok(_) => Err("expected a JSON list of middlewares".to_owned()),
        Err(error) => Err(format!("expected a JSON list of middlewares: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_world;

    fn labelled(text: &str) -> App {
        let mut app = test_world::app("a", 1);
        app.labels.insert(LABEL.to_owned(), text.to_owned());
        app
    }

    #[test]
    fn a_label_that_cannot_be_read_says_why_and_leaves_no_route_unprotected() {
        for (text, expected) in [
            ("{", "expected a JSON list"),
            ("{}", "expected a JSON list"),
            (r#"[{"Id":"a","Type":"nonsense"}]"#, r#"middleware 1 of the list: Type: "nonsense" is unknown"#),
            (r#"[{"Id":"a","Type":"bodylimit"}]"#, "middleware 1 of the list: MaxRequestBytes: is missing"),
        ] {
            let app = labelled(text);
            let message = check(&app).unwrap_err().message;
            assert!(message.starts_with(expected), "{text}: {message}");
            assert!(Chain::read(&of(&app), None).is_err(), "{text}");
        }
    }

    #[test]
    fn a_label_is_what_the_document_has() {
        let app = labelled(r#"[{"Id":"a","Type":"bodylimit","Middleware":{"MaxRequestBytes":9}}]"#);
        assert_eq!(check(&app), Ok(()));
        assert_eq!(of(&app)[0]["Middleware"]["MaxRequestBytes"], 9);
        assert!(of(&test_world::app("b", 1)).is_empty());
    }
}
