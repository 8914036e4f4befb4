//! What every page shares: the head, the navigation, and the main element the script refreshes.

use identity::Role;
use maud::{DOCTYPE, Markup, html};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Apps,
    Deployments,
    Nodes,
    Certificates,
}

impl Section {
    pub fn path(self) -> &'static str {
        match self {
            Self::Apps => "/",
            Self::Deployments => "/deployments",
            Self::Nodes => "/nodes",
            Self::Certificates => "/certificates",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Apps => "Apps",
            Self::Deployments => "Deployments",
            Self::Nodes => "Nodes",
            Self::Certificates => "Certificates",
        }
    }
}

/// A page without its content.
#[derive(Clone, Debug)]
pub struct Frame {
    pub title: String,
    pub section: Section,
    pub caller: Role,
}

impl Frame {
    /// A page that the script keeps up to date.
    pub fn live(&self, content: &Markup) -> Markup {
        self.render(content, true)
    }

    /// A page that stays as it is: a question or an answer.
    pub fn still(&self, content: &Markup) -> Markup {
        self.render(content, false)
    }

    fn render(&self, content: &Markup, live: bool) -> Markup {
        let link = |section: Section| {
            let current = (section == self.section).then_some("page");
            html! { a href=(section.path()) aria-current=[current] { (section.name()) } }
        };
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · Roadstead" }
                    link rel="icon" href="data:,";
                    link rel="stylesheet" href="/assets/console.css";
                    script src="/assets/console.js" defer {}
                }
                body {
                    header {
                        a.brand href="/" { "Roadstead" }
                        nav aria-label="Sections" {
                            (link(Section::Apps))
                            (link(Section::Deployments))
                            (link(Section::Nodes))
                            (link(Section::Certificates))
                        }
                        span.caller { "signed in as " (self.caller) }
                    }
                    p #lost.lost role="status" hidden { "The console does not answer; what follows is from before." }
                    main data-live[live] { (content) }
                }
            }
        }
    }
}
