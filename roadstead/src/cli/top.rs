//! `roadstead top`: what edges do now, over their APIs.

mod edges;

use super::app::Common;
use super::connection::{Api, parse_server};
use super::output::{table, write};
use crate::up::parse_time;
use edge::{Figures, Top};
use futures::future::join_all;
use lifecycle::ErrorChain;
use std::cmp::Ordering;
use std::io::{self, IsTerminal};
use std::time::Duration;
use tokio::time::timeout;

pub const EXAMPLES: &str = "Examples:
  roadstead top
  roadstead top --servers --sort p99
  roadstead top --once --output json | jq '.routes[] | [.route, .requests_per_second, .whole.p99_s]'
  roadstead top --edge 10.0.0.1:8182 --edge 10.0.0.2:8182";

#[derive(clap::Args)]
pub struct Arguments {
    /// An edge's API, HOST:PORT (repeatable: their figures are added up); default: the one of this machine, and in a cluster
    /// those of all machines
    #[arg(long = "edge", value_name = "ADDRESS", value_parser = parse_server)]
    edges: Vec<String>,
    /// How many routes, and servers, are shown
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// What comes first
    #[arg(long, value_enum, default_value_t)]
    sort: Sort,
    /// Show servers, too
    #[arg(long)]
    servers: bool,
    /// Between two looks
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "1s")]
    refresh: Duration,
    /// Look once
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Sort {
    /// Requests per second
    #[default]
    Rps,
    /// The time within which 99 of 100 requests were answered
    P99,
    /// Requests that were answered with a status of 500 or more
    Errors,
}

/// As JSON: what the edges say, and who says nothing.
#[derive(serde::Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    top: &'a Top,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    silent: &'a [String],
}

const SILENT_HINT: &str = "(an edge answers other machines when `api` under [edge] names an address that they reach: docs/observability.md)\n";

/// An edge answers within this time.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Takes the cursor to the screen's first line, and clears what is below.
const HOME_AND_CLEAR: &str = "\x1b[H\x1b[J";

pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let apis = edges::find(&arguments.common.connection, &arguments.edges).await?;
    let is_live = !arguments.once && io::stdout().is_terminal();
    loop {
        let (mut top, silent) = ask(&apis).await?;
        sort(&mut top, arguments.sort, arguments.limit);
        let text = describe(&top, arguments.servers, &silent);
        if is_live && !arguments.common.output.is_json() {
            write(format!("{HOME_AND_CLEAR}{text}\n").as_bytes())?;
        } else if arguments.once {
            return arguments.common.output.say(&text, &Told { top: &top, silent: &silent });
        } else {
            arguments.common.output.tell(&text, &Told { top: &top, silent: &silent })?;
        }
        tokio::time::sleep(arguments.refresh).await;
    }
}

/// What the edges say, added up; and what those said that did not answer, unless that is all of them.
async fn ask(apis: &[Api]) -> anyhow::Result<(Top, Vec<String>)> {
    let asked = apis.iter().map(async |api| match timeout(ANSWER_MAX, api.get::<Top>("/top")).await {
        Ok(answer) => answer,
        Err(_) => Err(anyhow::anyhow!("no answer within {ANSWER_MAX:?}")),
    });
    let answers = join_all(asked).await;
    let (mut sum, mut silent, mut first_error) = (None::<Top>, Vec::new(), None);
    for (api, answer) in apis.iter().zip(answers) {
        match (answer, &mut sum) {
            (Ok(top), None) => sum = Some(top),
            (Ok(top), Some(sum)) => sum.add(&top),
            (Err(error), _) => {
                silent.push(format!("{}: {}", api.name(), ErrorChain(error.as_ref())));
                first_error.get_or_insert(error);
            }
        }
    }
    match (sum, first_error) {
        (Some(top), _) => Ok((top, silent)),
        (None, Some(error)) => Err(error),
        (None, None) => Ok((Top::default(), silent)),
    }
}

fn sort(top: &mut Top, by: Sort, limit: usize) {
    top.routes.sort_by(|one, other| first(&one.figures, &other.figures, by).then_with(|| one.route.cmp(&other.route)));
    top.servers.sort_by(|one, other| first(&one.figures, &other.figures, by).then_with(|| one.url.cmp(&other.url)));
    top.routes.truncate(limit);
    top.servers.truncate(limit);
}

/// The larger one comes first.
fn first(one: &Figures, other: &Figures, by: Sort) -> Ordering {
    let p99 = |figures: &Figures| figures.whole.p99_s.unwrap_or_default();
    let order = match by {
        Sort::Rps => Ordering::Equal,
        Sort::P99 => p99(other).total_cmp(&p99(one)),
        Sort::Errors => other.errors.cmp(&one.errors),
    };
    order.then(other.requests_per_second.total_cmp(&one.requests_per_second))
}

fn describe(top: &Top, with_servers: bool, silent: &[String]) -> String {
    let edges = if top.edges.len() == 1 { "edge" } else { "edges" };
    let total: f64 = top.routes.iter().map(|row| row.figures.requests_per_second).sum();
    let mut text =
        format!("{} {edges}, the last {:.0} s: {} requests/s\n", top.edges.len(), top.window_s, number(total));
    text.extend(silent.iter().map(|silent| format!("no answer of {silent}\n")));
    if !silent.is_empty() {
        text.push_str(SILENT_HINT);
    }
    let routes = top.routes.iter().map(|row| {
        let name = if row.route.is_empty() { "(no route)" } else { &row.route };
        cells(name, &row.figures, row.app.as_deref())
    });
    text.push('\n');
    text.push_str(&table(&headings("route", Some("app")), routes.collect()));
    if with_servers {
        let servers = top.servers.iter().map(|row| cells(&row.url, &row.figures, None));
        text.push_str("\n\n");
        text.push_str(&table(&headings("server", None), servers.collect()));
    }
    text
}

fn headings(first: &'static str, last: Option<&'static str>) -> Vec<&'static str> {
    let middle = ["req/s", "p50 ms", "p90 ms", "p99 ms", "errors %", "failures", "retries", "in flight"];
    [first].into_iter().chain(middle).chain(last).collect()
}

fn cells(name: &str, figures: &Figures, app: Option<&str>) -> Vec<String> {
    let millis = |seconds: Option<f64>| seconds.map_or_else(String::new, |seconds| number(seconds * 1000.0));
    let share = if figures.requests == 0 { 0.0 } else { figures.errors as f64 / figures.requests as f64 * 100.0 };
    let mut cells = vec![
        name.to_owned(),
        number(figures.requests_per_second),
        millis(figures.whole.p50_s),
        millis(figures.whole.p90_s),
        millis(figures.whole.p99_s),
        number(share),
        figures.failures.to_string(),
        figures.retries.to_string(),
        figures.in_flight.to_string(),
    ];
    cells.extend(app.map(str::to_owned));
    cells
}

/// With three digits at least, if it has them.
fn number(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn times(p99_s: f64) -> serde_json::Value {
        json!({ "p50_s": p99_s / 2.0, "p90_s": p99_s, "p99_s": p99_s, "buckets": [1], "micros": 5 })
    }

    fn top() -> Top {
        let row = |route: &str, requests: u64, errors: u64, p99_s: f64| {
            json!({
                "route": route, "app": "/x", "requests": requests, "requests_per_second": requests as f64 / 10.0,
                "errors": errors, "failures": 0, "retries": 1, "in_flight": 2, "codes": { "200": requests },
                "request_bytes": 0, "response_bytes": 0, "head": times(p99_s), "whole": times(p99_s),
            })
        };
        let routes = [row("busy", 5000, 0, 0.004), row("slow", 10, 1, 1.5), row("", 1, 0, 0.0001)];
        serde_json::from_value(json!({ "edges": ["a"], "window_s": 10.0, "routes": routes, "servers": [] })).unwrap()
    }

    #[test]
    fn figures_are_a_table() {
        let expected = "1 edge, the last 10 s: 501 requests/s

ROUTE       REQ/S  P50 MS  P90 MS  P99 MS  ERRORS %  FAILURES  RETRIES  IN FLIGHT  APP
busy        500    2.00    4.00    4.00    0         0         1        2          /x
slow        1.00   750     1500    1500    10.0      0         1        2          /x
(no route)  0.10   0.05    0.10    0.10    0         0         1        2          /x";
        assert_eq!(describe(&top(), false, &[]), expected);
    }

    #[tokio::test]
    async fn edges_that_answer_are_added_up_and_the_others_named() {
        let listener = web::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = serde_json::to_value(top()).unwrap();
        let router = axum::Router::new().fallback(async move || axum::Json(answer));
        tokio::spawn(web::serve(listener, router, web::Bounds::default(), lifecycle::Stop::new()));
        let edge =
            |name: &str, port: u16| Api::at(format!("http://127.0.0.1:{port}"), web::Credentials::None).named(name);
        let nobody = web::bind(([127, 0, 0, 1], 0).into()).await.unwrap().local_addr().unwrap().port();
        let (sum, silent) = ask(&[edge("a", address.port()), edge("b", nobody)]).await.unwrap();
        assert_eq!((sum.edges.len(), silent.len()), (1, 1));
        assert!(silent[0].starts_with("b: "), "{silent:?}");
        assert!(describe(&sum, false, &silent).contains("\nno answer of b: "));
        let told = serde_json::to_value(Told { top: &sum, silent: &silent }).unwrap();
        assert!(told["silent"][0].is_string() && told["routes"].is_array(), "{told}");
        assert!(ask(&[edge("b", nobody)]).await.is_err(), "when nobody answers that is an error");
    }

    #[test]
    fn what_comes_first_can_be_chosen() {
        let firsts = [Sort::Rps, Sort::P99, Sort::Errors].map(|by| {
            let mut top = top();
            sort(&mut top, by, 1);
            top.routes[0].route.clone()
        });
        assert_eq!(firsts, ["busy", "slow", "slow"]);
    }
}
