//! The apps table of the article: ID, Memory (MB), CPUs, Tasks / Instances, health, Status.

use super::parts::{app_link, health_bar, status};
use crate::controller::{App, QueueItem};
use crate::status::{HealthBar, Status};
use maud::{Markup, html};

pub fn render(mut apps: Vec<App>, queue: &[QueueItem]) -> Markup {
    apps.sort_by(|one, other| one.id.cmp(&other.id));
    html! {
        h1 { "Apps" }
        @if apps.is_empty() {
            p.empty { "No app runs yet. Post one to " code { "/v2/apps" } ", or start one with " code { "roadstead app run" } "." }
        } @else {
            table.cards {
                thead {
                    tr {
                        th scope="col" { "ID" }
                        th.number scope="col" { "Memory (MB)" }
                        th.number scope="col" { "CPUs" }
                        th.number scope="col" { "Tasks / Instances" }
                        th scope="col" { "Health" }
                        th scope="col" { "Status" }
                    }
                }
                tbody { @for app in &apps { (row(app, queue)) } }
            }
        }
    }
}

fn row(app: &App, queue: &[QueueItem]) -> Markup {
    html! {
        tr {
            th scope="row" { a href=(app_link(&app.id)) { (app.id) } }
            td.number data-label="Memory (MB)" { (app.mem) }
            td.number data-label="CPUs" { (app.cpus) }
            td.number data-label="Tasks / Instances" { (app.tasks_running) " / " (app.instances) }
            td.health data-label="Health" { (health_bar(HealthBar::of(app))) }
            td data-label="Status" { (status(Status::of(app, queue))) }
        }
    }
}
