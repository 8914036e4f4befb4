//! What went wrong, in the controller's own words.

use super::Section;
use super::confirm::hidden_fields;
use super::parts::app_link;
use crate::action::AppForm;
use maud::{Markup, html};

pub fn render(section: Section, title: &str, message: &str) -> Markup {
    html! {
        section.question {
            h1 { (title) }
            p.message role="alert" { (message) }
            p { a.button href=(section.path()) { "Back to the " (section.name().to_lowercase()) } }
        }
    }
}

/// An action the controller refused; if other deployments hold the app, the same with force is offered.
pub fn refused(id: &str, form: &AppForm, message: &str, deployments: &[String]) -> Markup {
    html! {
        section.question {
            h1 { "Not done: " (form.action) " " (id) }
            p.message role="alert" { (message) }
            @if !deployments.is_empty() {
                ul { @for deployment in deployments { li { a href={ "/deployments#" (deployment) } { code { (deployment) } } } } }
            }
            form.actions method="post" action=(app_link(id)) {
                @if !deployments.is_empty() && !form.forced() {
                    (hidden_fields(form))
                    input type="hidden" name="force" value="true";
                    button.danger type="submit" { "Cancel those deployments and do it" }
                }
                a.button href=(app_link(id)) { "Back to " (id) }
            }
        }
    }
}
