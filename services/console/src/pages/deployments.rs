//! The deployments under way, each with its steps.

use super::parts::{app_link, time};
use crate::controller::{Deployment, Step};
use maud::{Markup, html};

/// `offers_changes`: whether to offer rolling back and stopping; who may is the controller's to decide.
pub fn render(deployments: &[Deployment], offers_changes: bool) -> Markup {
    html! {
        h1 { "Deployments" }
        @if deployments.is_empty() { p.empty { "No deployment is under way." } }
        @for deployment in deployments { (one(deployment, offers_changes)) }
    }
}

fn one(deployment: &Deployment, offers_changes: bool) -> Markup {
    html! {
        section.deployment id=(deployment.id) {
            h2 { code { (deployment.id) } }
            p {
                @for app in &deployment.affected_apps { a href=(app_link(app)) { (app) } " " }
                "· step " (deployment.current_step) " of " (deployment.steps.len()) " · version " (time(&deployment.version))
            }
            ol.steps {
                @for (index, step) in deployment.steps.iter().enumerate() { (step_row(step, index + 1, deployment.current_step)) }
            }
            @if offers_changes { (buttons(deployment)) }
        }
    }
}

fn buttons(deployment: &Deployment) -> Markup {
    html! {
        form.actions method="post" action="/deployments" {
            input type="hidden" name="id" value=(deployment.id);
            button type="submit" name="action" value="rollback" title="Undo what it has changed so far" { "Roll back" }
            button.danger type="submit" name="action" value="stop" title="Leave everything as it is now" { "Stop" }
        }
    }
}

/// `current` counts from 1; 0 is a deployment that has not begun.
fn step_row(step: &Step, number: usize, current: usize) -> Markup {
    let state = match number.cmp(&current) {
        std::cmp::Ordering::Less => "done",
        std::cmp::Ordering::Equal => "now",
        std::cmp::Ordering::Greater => "next",
    };
    html! {
        li class=(state) aria-current=[(state == "now").then_some("step")] {
            @for action in step.actions() { span { (spaced(&action.action)) " " a href=(app_link(&action.app)) { (action.app) } } }
            @if step.actions().is_empty() { "nothing" }
        }
    }
}

/// `ScaleApplication` as `Scale application`.
fn spaced(action: &str) -> String {
    let mut text = String::with_capacity(action.len() + 1);
    for (index, character) in action.chars().enumerate() {
        if index > 0 && character.is_ascii_uppercase() {
            text.push(' ');
            text.push(character.to_ascii_lowercase());
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_written_as_words() {
        assert_eq!(spaced("ScaleApplication"), "Scale application");
        assert_eq!(spaced("KillAllOldTasksOf"), "Kill all old tasks of");
    }
}
