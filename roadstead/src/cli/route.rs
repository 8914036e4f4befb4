//! `roadstead route …`: what serves, over the edge's API; documents and their history, over the controller's.

mod document;
mod history;

use super::app::Common;
use super::output::{table, text};
use serde_json::Value;
use std::net::IpAddr;

#[derive(clap::Subcommand)]
pub enum Command {
    /// List the routes the edge serves
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Say which route a request takes, to which servers, and why the others do not
    #[command(after_help = "Example: roadstead route explain GET http://s3pics.localhost/ -H 'X-Version: 2'")]
    Explain {
        /// GET, PUT, …
        method: String,
        /// http://host/path
        url: String,
        /// NAME: VALUE (repeatable)
        #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
        headers: Vec<String>,
        /// The client's address, for routes that ask for it
        #[arg(long, value_name = "ADDRESS")]
        client: Option<IpAddr>,
        #[command(flatten)]
        common: Common,
    },
    /// Make a route of your own, where there is none of that name
    #[command(after_help = document::EXAMPLES)]
    Add(document::Set),
    /// Make a route of your own, or replace it
    #[command(after_help = document::EXAMPLES)]
    Set(document::Set),
    /// Remove a route of your own
    #[command(after_help = "Example: roadstead route rm shop", visible_alias = "remove")]
    Rm {
        /// Its name
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Tell what was changed of the routes, newest first: vulcand's keys, your own documents, the rules of apps
    #[command(after_help = history::HISTORY_EXAMPLES)]
    History(history::History),
    /// Bring vulcand's keys and your own documents back to what they were after a revision, all at once
    #[command(after_help = history::ROLLBACK_EXAMPLES)]
    Rollback(history::Rollback),
}

pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List { common } => list(&common).await,
        Command::Explain { method, url, headers, client, common } => {
            explain(&method, &url, &headers, client, &common).await
        }
        Command::Add(set) => set.run(true).await,
        Command::Set(set) => set.run(false).await,
        Command::Rm { id, common } => document::remove(&id, &common).await,
        Command::History(history) => history.run().await,
        Command::Rollback(rollback) => rollback.run().await,
    }
}

async fn list(common: &Common) -> anyhow::Result<()> {
    let answer: Value = common.connection.edge_api()?.get("/routes").await?;
    let routes = answer["routes"].as_array().cloned().unwrap_or_default();
    let rows = routes.iter().map(|route| {
        let servers = route["servers"].as_array().map_or(&[][..], Vec::as_slice);
        let in_flight: u64 = servers.iter().filter_map(|server| server["in_flight"].as_u64()).sum();
        let served = match &route["refused"] {
            Value::String(reason) => format!("refused: {reason}"),
            _ => servers.len().to_string(),
        };
        vec![text(&route["id"]), text(&route["rule"]), served, in_flight.to_string(), text(&route["app"])]
    });
    common.output.print(&["route", "rule", "servers", "in flight", "app"], rows.collect(), &routes)
}

async fn explain(
    method: &str,
    url: &str,
    headers: &[String],
    client: Option<IpAddr>,
    common: &Common,
) -> anyhow::Result<()> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("method", method).append_pair("url", url);
    for header in headers {
        query.append_pair("header", header);
    }
    if let Some(client) = client {
        query.append_pair("client", &client.to_string());
    }
    let answer: Value = common.connection.edge_api()?.get(&format!("/explain?{}", query.finish())).await?;
    common.output.say(&describe(method, url, &answer), &answer)
}

/// The winner and its servers, then every route in the order in which they are tried.
fn describe(method: &str, url: &str, answer: &Value) -> String {
    let mut lines = vec![match answer["winner"].as_str() {
        Some(winner) => format!("{method} {url} takes the route {winner}"),
        None => format!("{method} {url} takes no route: it is answered 404"),
    }];
    let servers = answer["servers"].as_array().map_or(&[][..], Vec::as_slice);
    if let Some(reason) = answer["refused"].as_str() {
        lines.push(format!("  it refuses, the answer is 503: {reason}"));
    } else if answer["winner"].is_string() && servers.is_empty() {
        lines.push("  it has no server now: the answer is 503".into());
    }
    let states = answer["states"].as_array().map_or(&[][..], Vec::as_slice);
    let picks = |state: &Value| state["picked_by"].as_array().map_or(0, Vec::len);
    let threads: usize = states.iter().map(picks).sum();
    lines.extend(servers.iter().map(|server| {
        let known = states.iter().find(|known| known["url"] == *server);
        let state = known.and_then(|known| known["state"].as_str()).filter(|state| *state != "good");
        let state = state.map(|state| format!(" ({state})")).unwrap_or_default();
        let picked = match known.map_or(0, picks) {
            0 => String::new(),
            all if all == threads => ", now".into(),
            some => format!(", now on {some} of {threads} threads"),
        };
        format!("  to {}{state}{picked}", text(server))
    }));
    let routes = answer["routes"].as_array().map_or(&[][..], Vec::as_slice);
    if !routes.is_empty() {
        let rows = routes.iter().map(|route| {
            let verdict = text(&route["verdict"]).replace('_', " ");
            let why = if verdict == "wins" { String::new() } else { text(&route["reason"]) };
            vec![text(&route["route"]), verdict, why]
        });
        lines.push(format!("\n{}", table(&["route", "verdict", "why"], rows.collect())));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_winner_comes_first_and_every_loser_has_its_reason() {
        let answer = json!({
            "winner": "app.web", "servers": ["http://127.0.0.1:31000", "http://127.0.0.1:31001", "http://127.0.0.1:31002"],
            "states": [
                { "url": "http://127.0.0.1:31000", "state": "good", "picked_by": [0, 3] },
                { "url": "http://127.0.0.1:31001", "state": "good", "picked_by": [1, 2] },
                { "url": "http://127.0.0.1:31002", "state": "down for 3 s: it answered 500", "picked_by": [] },
            ],
            "routes": [
                { "route": "app.web", "verdict": "wins" },
                { "route": "old", "verdict": "loses", "reason": "app.web goes first: it has the higher priority" },
                { "route": "s3", "verdict": "does_not_match", "reason": "Host(\"s3.localhost\") does not hold" },
            ],
        });
        let expected = "GET http://web.localhost/ takes the route app.web
  to http://127.0.0.1:31000, now on 2 of 4 threads
  to http://127.0.0.1:31001, now on 2 of 4 threads
  to http://127.0.0.1:31002 (down for 3 s: it answered 500)

ROUTE    VERDICT         WHY
app.web  wins
old      loses           app.web goes first: it has the higher priority
s3       does not match  Host(\"s3.localhost\") does not hold";
        assert_eq!(describe("GET", "http://web.localhost/", &answer), expected);
        let sure = json!({ "winner": "a", "servers": ["http://s"], "routes": [],
            "states": [{ "url": "http://s", "state": "good", "picked_by": [0, 1] }] });
        assert!(describe("GET", "http://x/", &sure).ends_with("  to http://s, now"));
        let refuses = json!({ "winner": "a", "refused": "no such kind", "servers": ["http://s"], "routes": [] });
        assert!(describe("GET", "http://x/", &refuses).contains("the answer is 503: no such kind"));
        let nothing = json!({ "winner": null, "servers": [], "routes": [] });
        assert!(describe("GET", "http://x/", &nothing).contains("takes no route"));
    }
}
