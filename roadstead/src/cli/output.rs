//! What a command prints on standard output: a table or lines for people, JSON for programs.

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::Value;
use std::io::{self, Write};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
}

#[derive(clap::Args, Clone)]
pub struct Output {
    /// How results are printed
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// Whoever read our output has gone (`… | head -1`): not a failure, but the end.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub struct ReaderGone;

impl Output {
    pub fn is_json(&self) -> bool {
        self.output == Format::Json
    }

    /// Prints rows under headings, or `value` as JSON.
    pub fn print(&self, headings: &[&str], rows: Vec<Vec<String>>, value: &impl Serialize) -> anyhow::Result<()> {
        self.say(&table(headings, rows), value)
    }

    /// Prints lines, or `value` as JSON.
    pub fn say(&self, text: &str, value: &impl Serialize) -> anyhow::Result<()> {
        match self.output {
            Format::Json => write_line(&serde_json::to_string_pretty(value)?),
            Format::Table => write_line(text),
        }
    }

    /// Prints one of many as it comes: a line of text, or of JSON.
    pub fn tell(&self, text: &str, value: &impl Serialize) -> anyhow::Result<()> {
        match self.output {
            Format::Json => write_line(&serde_json::to_string(value)?),
            Format::Table => write_line(text),
        }
    }
}

/// Aligned columns, nothing at the end of a line, so that what is copied can be pasted.
pub fn table(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.iter().map(|heading| heading.to_uppercase()));
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

pub fn write_line(line: &str) -> anyhow::Result<()> {
    write(format!("{line}\n").as_bytes())
}

/// Writes bytes at once.
pub fn write(bytes: &[u8]) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        Err(error) => Err(anyhow::Error::new(error).context("write to standard output")),
    }
}

/// The text of a JSON value: strings without quotes, whole numbers without a fraction, nothing for null.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |number| number.to_string()),
        other => other.to_string(),
    }
}

/// How long ago a time of Marathon's was, in the largest unit that fits; the time itself when it is none.
pub fn age(timestamp: &Value, now: jiff::Timestamp) -> String {
    let Some(then) = timestamp.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok()) else {
        return text(timestamp);
    };
    // Clocks differ: what seems to come from the future is from now.
    match now.as_second().saturating_sub(then.as_second()).max(0) {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..86400 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_aligned_and_lines_end_with_their_text() {
        let rows = vec![vec!["/web".into(), "2".into()], vec!["/shop/cart".into(), String::new()]];
        assert_eq!(table(&["id", "tasks"], rows), "ID          TASKS\n/web        2\n/shop/cart");
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        let texts = [json!(32.0), json!(0.1), json!(3), json!(null), json!("x"), json!(true)].map(|value| text(&value));
        assert_eq!(texts, ["32", "0.1", "3", "", "x", "true"]);
    }

    #[test]
    fn an_age_is_told_in_the_largest_unit_that_fits() {
        let now: jiff::Timestamp = "2026-01-02T12:00:00Z".parse().unwrap();
        for (time, expected) in [
            ("2026-01-02T11:59:18Z", "42 s"),
            ("2026-01-02T11:00:01Z", "59 min"),
            ("2026-01-01T12:00:01Z", "23 h"),
            ("2025-12-31T12:00:00Z", "2 d"),
            ("2027-01-01T00:00:00Z", "0 s"),
            ("soon", "soon"),
        ] {
            assert_eq!(age(&json!(time), now), expected);
        }
    }
}
