//! One app: its tasks, its configuration, its versions, and what can be done with it.

use super::parts::{app_link, health_bar, health_dot, status, time};
use crate::controller::{App, Details, QueueItem, Task, TaskFailure};
use crate::status::{Health, HealthBar, Status};
use maud::{Markup, html};
use serde_json::Value;

/// What the controller adds to an app's definition when it shows one.
const OBSERVED_FIELDS: [&str; 8] = [
    "tasks",
    "tasksStaged",
    "tasksRunning",
    "tasksHealthy",
    "tasksUnhealthy",
    "deployments",
    "lastTaskFailure",
    "readinessCheckResults",
];

/// What the page is made of.
pub struct Content<'a> {
    pub app: &'a App,
    pub details: &'a Details,
    pub queue: &'a [QueueItem],
    pub tab: Tab,
    /// Whether to offer what changes the app; who may is the controller's to decide.
    pub offers_changes: bool,
}

/// The part of the page below the buttons.
pub enum Tab {
    Tasks,
    /// A definition, and the version it is of if not the current one.
    Configuration(Value, Option<String>),
    Versions(Vec<String>),
}

pub fn render(content: &Content<'_>) -> Markup {
    let Content { app, details, queue, tab, offers_changes } = content;
    let bar = HealthBar::of(app);
    html! {
        div.title {
            h1 { (app.id) }
            (status(Status::of(app, queue)))
        }
        div.summary {
            (health_bar(bar))
            p {
                (app.tasks_running) " of " (app.instances) " tasks running (" (bar.describe()) ") · "
                (app.mem) " MB · " (app.cpus) " CPUs each"
            }
            @if let Some(url) = &details.url { p { "Reached at " a href=(url) rel="noreferrer" { (url) } } }
            @for (runtime, lacks) in details.runtimes.iter().filter(|(_, lacks)| !lacks.is_empty()) {
                p { "Runs by " code { (runtime) } ": " (lacks.join(", ")) }
            }
        }
        (under_way(app, details))
        @if *offers_changes { (buttons(app)) }
        (tabs(app, tab))
        @match tab {
            Tab::Tasks => (tasks(app)),
            Tab::Configuration(definition, version) => (configuration(definition, version.as_deref())),
            Tab::Versions(versions) => (version_list(app, versions, *offers_changes)),
        }
        @if let (Tab::Tasks, Some(failure)) = (tab, &app.last_task_failure) { (last_failure(failure)) }
    }
}

/// What is changing the app, and what it waits for.
fn under_way(app: &App, details: &Details) -> Markup {
    html! {
        @if !app.deployments.is_empty() || !details.reasons.is_empty() {
            div.notice {
                @for deployment in &app.deployments {
                    p { "Deployment " a href={ "/deployments#" (deployment.id) } { code { (deployment.id) } } " is changing this app." }
                }
                @if !details.reasons.is_empty() { ul { @for reason in &details.reasons { li { (reason) } } } }
            }
        }
    }
}

fn buttons(app: &App) -> Markup {
    let link = app_link(&app.id);
    let ask = |action: &str, name: &str, class: &str| {
        html! { a class={ "button " (class) } href={ (link) "?confirm=" (action) } { (name) } }
    };
    html! {
        div.actions {
            form.scale method="post" action=(link) {
                input type="hidden" name="action" value="scale";
                label for="instances" { "Instances" }
                input #instances type="number" name="instances" min="0" step="1" required value=(app.instances);
                button type="submit" { "Scale" }
            }
            (ask("suspend", "Suspend", ""))
            (ask("restart", "Restart", ""))
            (ask("destroy", "Destroy", "danger"))
        }
    }
}

fn tabs(app: &App, tab: &Tab) -> Markup {
    let link = app_link(&app.id);
    let one = |current: bool, query: &str, name: &str| {
        html! { a href={ (link) (query) } aria-current=[current.then_some("page")] { (name) } }
    };
    html! {
        nav.tabs aria-label="Views of the app" {
            (one(matches!(tab, Tab::Tasks), "", "Tasks"))
            (one(matches!(tab, Tab::Configuration(..)), "?tab=configuration", "Configuration"))
            (one(matches!(tab, Tab::Versions(_)), "?tab=versions", "Versions"))
        }
    }
}

fn tasks(app: &App) -> Markup {
    let mut tasks: Vec<&Task> = app.tasks.iter().collect();
    tasks.sort_by(|one, other| one.id.cmp(&other.id));
    html! {
        @if tasks.is_empty() {
            p.empty { "No task is running." }
        } @else {
            table.cards {
                thead {
                    tr {
                        th scope="col" { "ID" }
                        th scope="col" { "Status" }
                        th scope="col" { "Version" }
                        th scope="col" { "Updated" }
                        th scope="col" { "Health" }
                    }
                }
                tbody { @for task in tasks { (task_row(task)) } }
            }
        }
    }
}

fn task_row(task: &Task) -> Markup {
    let (state, updated) = match (&task.started_at, &task.staged_at) {
        (Some(started), _) => ("Started", started.as_str()),
        (None, staged) => ("Staged", staged.as_deref().unwrap_or_default()),
    };
    html! {
        tr {
            th scope="row" {
                code { (task.id) }
                div.endpoints {
                    @for port in &task.ports {
                        a href={ "http://" (task.host) ":" (port) } rel="noreferrer" { (task.host) ":" (port) }
                    }
                    @if task.ports.is_empty() { span { (task.host) } }
                }
            }
            td data-label="Status" { span class={ "task " (state.to_lowercase()) } { (state) } }
            td data-label="Version" { (time(&task.version)) }
            td data-label="Updated" { (time(updated)) }
            td data-label="Health" { (health_dot(Health::of(task))) (failure_cause(task)) }
        }
    }
}

/// Why the last check failed, where the controller tells.
fn failure_cause(task: &Task) -> Markup {
    let failing = task.health_check_results.iter().flatten().find(|result| !result.alive);
    html! {
        @if let Some(result) = failing {
            span.cause {
                @if let Some(cause) = &result.last_failure_cause { (cause) " " }
                "(" (result.consecutive_failures) " in a row)"
            }
        }
    }
}

fn configuration(definition: &Value, version: Option<&str>) -> Markup {
    let mut definition = definition.clone();
    if let Some(fields) = definition.as_object_mut() {
        fields.retain(|name, _| !OBSERVED_FIELDS.contains(&name.as_str()));
    }
    let text = serde_json::to_string_pretty(&definition).unwrap_or_default();
    html! {
        @if let Some(version) = version { p { "As it was at version " (time(version)) "." } }
        pre.document { (text) }
    }
}

fn version_list(app: &App, versions: &[String], offers_changes: bool) -> Markup {
    let link = app_link(&app.id);
    let with_version = |query: &str, version: &str| {
        let version: String = form_urlencoded::byte_serialize(version.as_bytes()).collect();
        format!("{link}?{query}&version={version}")
    };
    html! {
        table.cards {
            thead { tr { th scope="col" { "Version" } th scope="col" { "" } } }
            tbody {
                @for version in versions {
                    tr {
                        th scope="row" { a href=(with_version("tab=configuration", version)) { (time(version)) } }
                        td {
                            @if *version == app.version { "current" }
                            @else if offers_changes { a.button href=(with_version("confirm=rollback", version)) { "Roll back" } }
                        }
                    }
                }
            }
        }
    }
}

fn last_failure(failure: &TaskFailure) -> Markup {
    html! {
        section.failure aria-labelledby="failure" {
            h2 #failure { "Last task failure" }
            dl {
                dt { "Task" } dd { code { (failure.task_id) } }
                dt { "State" } dd { (failure.state) }
                dt { "Message" } dd { (failure.message) }
                dt { "Host" } dd { (failure.host) }
                dt { "Time" } dd { (time(&failure.timestamp)) }
                dt { "Version" } dd { (time(&failure.version)) }
            }
        }
    }
}
