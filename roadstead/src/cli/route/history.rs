//! What was changed of the routes, and the way back.

use crate::cli::app::Common;
use crate::cli::output::text;
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub const HISTORY_EXAMPLES: &str = "Examples:
  roadstead route history
  roadstead route history --id 1234      what revision 1234 changed, line by line";
pub const ROLLBACK_EXAMPLES: &str = "Examples:
  roadstead route rollback 1234 --dry-run
  roadstead route rollback 1234
  roadstead route rollback 1234 --only /vulcand/frontends/f1 --only /roadstead/routes/shop

Routes of apps are the platform's: `roadstead app versions APP` lists what an app was, `roadstead app run` brings it back.";

/// Keys that are named of those that stay, for each reason.
const LEFT_KEYS_MAX: usize = 10;
/// Why a key stays, as the API says it and as people are told.
const LEFT: [(&str, &str); 5] = [
    ("app", "since apps decide them"),
    ("server", "since servers come and go with what runs (--servers takes them back, too)"),
    ("on_lease", "since they live on a lease now"),
    ("was_on_lease", "since they lived on a lease then and do not now"),
    ("not_asked", "since they are below none of what --only names"),
];

#[derive(clap::Args)]
pub struct History {
    /// One revision, with what was there before and after
    #[arg(long = "id", value_name = "REVISION")]
    revision: Option<i64>,
    /// Show revisions of nothing but vulcand's servers, too, which programs write
    #[arg(long)]
    servers: bool,
    /// How many revisions
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args)]
pub struct Rollback {
    /// What was changed after it is taken back
    revision: i64,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    /// Take back vulcand's servers, too: bring back those that were there then, delete those that were not
    #[arg(long)]
    servers: bool,
    /// Take back only what is below a key, by whole segments (repeatable)
    #[arg(long, value_name = "PREFIX")]
    only: Vec<String>,
    #[command(flatten)]
    common: Common,
}

impl History {
    pub async fn run(self) -> anyhow::Result<()> {
        let api = self.common.connection.api()?;
        if let Some(revision) = self.revision {
            let record: Value = api.get(&format!("/v1/routes/history/{revision}")).await?;
            return self.common.output.say(&describe(&record), &record);
        }
        let answer: Value =
            api.get(&format!("/v1/routes/history?limit={}&servers={}", self.limit, self.servers)).await?;
        let revisions = answer["revisions"].as_array().cloned().unwrap_or_default();
        let rows = revisions.iter().flat_map(rows_of).collect();
        self.common.output.print(&["revision", "when", "change", "key"], rows, &answer)
    }
}

impl Rollback {
    pub async fn run(self) -> anyhow::Result<()> {
        let api = self.common.connection.api()?;
        let Self { revision, dry_run, servers, only, .. } = &self;
        let asked = json!({ "revision": revision, "dry_run": dry_run, "servers": servers, "only": only });
        let answer: Value = api.send(Method::POST, "/v1/routes/rollback", &asked).await?;
        self.common.output.say(&report(&answer), &answer)
    }
}

/// One row per change, the revision in the first.
fn rows_of(revision: &Value) -> Vec<Vec<String>> {
    let (number, when) = (text(&revision["revision"]), when(&revision["at_ms"]));
    if let Some(after) = revision["unseen_after"].as_i64() {
        return vec![vec![number, when, "not seen".into(), format!("what changed after revision {after}")]];
    }
    let changes = revision["changes"].as_array().map_or(&[][..], Vec::as_slice);
    let row = |(place, change): (usize, &Value)| {
        let first = |text: &str| if place == 0 { text.to_owned() } else { String::new() };
        vec![first(&number), first(&when), text(&change["change"]), plain(&change["key"])]
    };
    changes.iter().enumerate().map(row).collect()
}

/// A key whose control characters are escaped: whoever may write one writes nothing else to a terminal.
fn plain(key: &Value) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text(key).chars().map(escaped).collect()
}

fn when(at_ms: &Value) -> String {
    let time = at_ms.as_i64().and_then(|at_ms| jiff::Timestamp::from_millisecond(at_ms).ok());
    time.map(|time| format!("{time:.0}")).unwrap_or_default()
}

fn describe(record: &Value) -> String {
    let mut lines = vec![format!("revision {} of {}", text(&record["revision"]), when(&record["at_ms"]))];
    if let Some(after) = record["unseen_after"].as_i64() {
        lines.push(format!("what changed after revision {after} was not seen: the store had compacted it"));
    }
    lines.extend(changes(record));
    lines.join("\n")
}

fn report(answer: &Value) -> String {
    let count = answer["changes"].as_array().map_or(0, Vec::len);
    let to = text(&answer["to"]);
    let mut lines = vec![match (count, answer["dry_run"].as_bool()) {
        (0, _) => format!("all is as it was after revision {to}"),
        (_, Some(true)) => format!("would bring {count} keys back to what they were after revision {to}:"),
        _ => format!("{count} keys are as after revision {to}, by revision {}:", text(&answer["revision"])),
    }];
    lines.extend(changes(answer));
    lines.extend(left(answer));
    lines.join("\n")
}

/// What stays otherwise than it was, by the reason.
fn left(answer: &Value) -> Vec<String> {
    let left = answer["left"].as_array().map_or(&[][..], Vec::as_slice);
    let mut lines = Vec::new();
    for (why, told) in LEFT {
        let mut keys: Vec<String> =
            left.iter().filter(|left| left["why"] == why).map(|left| plain(&left["key"])).collect();
        if keys.is_empty() {
            continue;
        }
        let more = keys.len().saturating_sub(LEFT_KEYS_MAX);
        keys.truncate(LEFT_KEYS_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push(format!("\nLeft as they are, {told}: {}{more}", keys.join(" ")));
        if why == "app" {
            lines
                .push("`roadstead app versions APP` lists what an app was; `roadstead app run` brings it back.".into());
        }
    }
    lines
}

fn changes(of: &Value) -> Vec<String> {
    let changes = of["changes"].as_array().map_or(&[][..], Vec::as_slice);
    let one = |change: &Value| {
        let mut lines = vec![format!("\n{}", plain(&change["key"]))];
        lines.extend(differences(&change["before"], &change["after"]));
        lines
    };
    changes.iter().flat_map(one).collect()
}

/// The fields that differ; whole values where they are no JSON objects.
fn differences(before: &Value, after: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    match (parsed(before), parsed(after)) {
        (Some(before), Some(after)) => differ("", &before, &after, &mut lines),
        (before, after) => {
            for (sign, value) in [("-", before), ("+", after)] {
                lines.extend(value.map(|value| format!("  {sign} {value}")));
            }
        }
    }
    lines
}

/// As the store has it: text, or how large it is.
fn parsed(kept: &Value) -> Option<Value> {
    match kept {
        Value::Null => None,
        Value::String(text) => Some(serde_json::from_str(text).unwrap_or_else(|_| json!(text))),
        leased if leased["lease"].is_i64() => Some(json!("(on a lease)")),
        large => Some(json!(format!("({} bytes)", text(&large["omitted_bytes"])))),
    }
}

fn differ(path: &str, before: &Value, after: &Value, lines: &mut Vec<String>) {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        if before != after {
            let shown = |value: &Value| if value.is_null() { "(none)".to_owned() } else { value.to_string() };
            lines.push(format!("  {path}: {} -> {}", shown(before), shown(after)));
        }
        return;
    };
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        differ(&path, old.get(name).unwrap_or(&Value::Null), new.get(name).unwrap_or(&Value::Null), lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::table;

    #[test]
    fn a_change_is_told_field_by_field() {
        let before = r#"{"Route":"Path(`/a`)","Settings":{"Stream":true},"Same":1}"#;
        let after = r#"{"Route":"Path(`/b`)","Same":1}"#;
        let record = json!({ "revision": 7, "at_ms": 1_700_000_000_000_i64, "changes": [
            { "key": "/vulcand/frontends/f1/frontend", "before": before, "after": after },
            { "key": "/vulcand/frontends/f2/frontend", "before": null, "after": "{\"Id\":\"f2\"}" },
            { "key": "large", "before": { "omitted_bytes": 9 }, "after": null },
        ]});
        let expected = "revision 7 of 2023-11-14T22:13:20Z

/vulcand/frontends/f1/frontend
  Route: \"Path(`/a`)\" -> \"Path(`/b`)\"
  Settings: {\"Stream\":true} -> (none)

/vulcand/frontends/f2/frontend
  + {\"Id\":\"f2\"}

large
  - \"(9 bytes)\"";
        assert_eq!(describe(&record), expected);
    }

    #[test]
    fn a_list_has_one_row_per_change_and_names_what_was_not_seen() {
        let change = |key: &str| json!({ "key": key, "change": "made" });
        let rows = rows_of(&json!({ "revision": 7, "at_ms": 0, "changes": [change("a"), change("b")] }));
        assert_eq!(
            table(&["r", "w", "c", "k"], rows),
            "R  W                     C     K\n7  1970-01-01T00:00:00Z  made  a\n                         made  b"
        );
        let gap = rows_of(&json!({ "revision": 7, "at_ms": 0, "changes": [], "unseen_after": 3 }));
        assert_eq!(gap[0][2..], ["not seen", "what changed after revision 3"]);
    }

    #[test]
    fn no_key_writes_to_the_terminal() {
        let change = json!({ "key": "/é\u{1b}[2J\n\u{9b}x", "change": "made", "before": null, "after": "1" });
        let record = json!({ "revision": 7, "at_ms": 0, "to": 3, "changes": [change],
            "left": [{ "key": "\r", "why": "app" }] });
        let shown = r"/é\u{1b}[2J\n\u{9b}x";
        assert_eq!(rows_of(&record)[0][3], shown);
        assert!(describe(&record).contains(shown));
        assert!(report(&record).contains(shown) && report(&record).contains(r"decide them: \r"));
    }

    #[test]
    fn a_rollback_says_what_it_did_and_what_it_left() {
        let change = json!({ "key": "/vulcand/x", "before": null, "after": "1" });
        let server = |number: usize| json!({ "key": format!("/vulcand/backends/b/servers/{number}"), "why": "server" });
        let mut left: Vec<Value> = (0..12).map(server).collect();
        left.push(json!({ "key": "/roadstead/routes/app.a", "why": "app" }));
        let mut answer = json!({ "to": 3, "dry_run": true, "changes": [change], "left": left });
        assert!(report(&answer).starts_with("would bring 1 keys back"));
        answer["dry_run"] = json!(false);
        answer["revision"] = json!(9);
        let done = report(&answer);
        assert!(
            done.starts_with("1 keys are as after revision 3, by revision 9:") && done.contains("app versions"),
            "{done}"
        );
        assert!(done.contains("servers/9 and 2 more") && done.contains("--servers takes"), "{done}");
        assert_eq!(report(&json!({ "to": 3, "dry_run": false, "changes": [] })), "all is as it was after revision 3");
    }
}
