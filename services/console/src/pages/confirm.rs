//! Asks before something that cannot simply be undone; a page of its own, so that no script is needed.

use super::parts::app_link;
use crate::action::AppAction;
use crate::action::AppForm;
use maud::{Markup, html};

pub fn render(id: &str, action: &AppAction, form: &AppForm) -> Markup {
    let class = if *action == AppAction::Destroy { "danger" } else { "primary" };
    html! {
        section.question {
            h1 { (action.question(id)) }
            p { (action.consequence()) }
            form.actions method="post" action=(app_link(id)) {
                (hidden_fields(form))
                button class=(class) type="submit" { (action.verb()) }
                a.button href=(app_link(id)) { "Cancel" }
            }
        }
    }
}

/// A form's fields again, so that it can be sent a second time.
pub fn hidden_fields(form: &AppForm) -> Markup {
    html! {
        input type="hidden" name="action" value=(form.action);
        @if let Some(instances) = &form.instances { input type="hidden" name="instances" value=(instances); }
        @if let Some(version) = &form.version { input type="hidden" name="version" value=(version); }
    }
}
