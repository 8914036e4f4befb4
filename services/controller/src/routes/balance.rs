//! What an app's label says of how its servers are chosen.

use super::BadLabel;
use lifecycle::ErrorChain;
use model::App;
use routing::{Balance, BalanceError, BalanceSpec};

/// A policy's name, or JSON as a route document's `balance` (docs/balancing.md).
const LABEL: &str = "roadstead.balance";

/// Whether edges can do what the label asks for.
pub(super) fn check(app: &App) -> Result<(), BadLabel> {
    let wrong = |error| BadLabel { label: LABEL, message: ErrorChain(&error).to_string() };
    read(app).map(drop).map_err(wrong)
}

/// As a route document has it. A label that makes no sense, which an app of an earlier version may have, says nothing: no
/// edge would serve the route else.
pub(super) fn of(app: &App) -> BalanceSpec {
    read(app).unwrap_or_default()
}

fn read(app: &App) -> Result<BalanceSpec, BalanceError> {
    let Some(text) = app.labels.get(LABEL) else { return Ok(BalanceSpec::default()) };
    let balance = Balance::compile(BalanceSpec::from_text(text)?)?;
    Ok(balance.spec().clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_world;
    use routing::Policy;

    fn labelled(text: &str) -> App {
        let mut app = test_world::app("a", 1);
        app.labels.insert(LABEL.to_owned(), text.to_owned());
        app
    }

    #[test]
    fn a_label_says_how_servers_are_chosen_or_is_refused_by_name() {
        assert_eq!(of(&labelled("least_connections")).policy, Policy::LeastConnections);
        assert!(of(&labelled(r#"{"rebalance":true}"#)).rebalance);
        assert!(of(&test_world::app("b", 1)).is_default());
        for text in ["fastest", r#"{"policy":"hash"}"#, r#"{"sticky":{"cookie":""}}"#, "{"] {
            let app = labelled(text);
            assert_eq!(check(&app).unwrap_err().label, LABEL, "{text}");
            assert!(of(&app).is_default());
        }
    }
}
