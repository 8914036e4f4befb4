//! Asks before something that cannot simply be undone; a page of its own, so that no script is needed.

use super::parts::app_link;
use crate::action::{AppAction, AppForm, NodeAction, NodeForm};
use maud::{Markup, html};

/// A question, and where its form goes; whoever cancels goes there, too.
struct Question<'a> {
    text: &'a str,
    consequence: &'a str,
    verb: &'a str,
    is_dangerous: bool,
    target: &'a str,
}

pub fn app(id: &str, action: &AppAction, form: &AppForm) -> Markup {
    let question = Question {
        text: &action.question(id),
        consequence: action.consequence(),
        verb: action.verb(),
        is_dangerous: *action == AppAction::Destroy,
        target: &app_link(id),
    };
    question.render(&hidden_fields(form))
}

pub fn node(action: NodeAction, form: &NodeForm) -> Markup {
    let text = format!("{} {}?", action.verb(), form.node);
    let (consequence, verb) = (action.consequence(), action.verb());
    let question = Question { text: &text, consequence, verb, is_dangerous: false, target: "/nodes" };
    question.render(&html! {
        input type="hidden" name="action" value=(form.action);
        input type="hidden" name="node" value=(form.node);
    })
}

impl Question<'_> {
    fn render(&self, fields: &Markup) -> Markup {
        let class = if self.is_dangerous { "danger" } else { "primary" };
        html! {
            section.question {
                h1 { (self.text) }
                p { (self.consequence) }
                form.actions method="post" action=(self.target) {
                    (fields)
                    button class=(class) type="submit" { (self.verb) }
                    a.button href=(self.target) { "Cancel" }
                }
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
