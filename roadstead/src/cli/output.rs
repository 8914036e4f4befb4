//! A table for people, JSON for programs.

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
}

#[derive(clap::Args, Clone)]
pub struct Output {
    /// How results are printed
    #[arg(long, short, value_enum, default_value_t, global = true)]
    output: Format,
}

impl Output {
    /// Prints rows under headings, or `value` as JSON.
    pub fn print(&self, headings: &[&str], rows: Vec<Vec<String>>, value: &impl Serialize) -> anyhow::Result<()> {
        match self.output {
            Format::Json => println!("{}", serde_json::to_string_pretty(value)?),
            Format::Table => {
                let mut table = Table::new();
                table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
                table.set_header(headings.iter().map(|heading| heading.to_uppercase()));
                table.add_rows(rows);
                println!("{table}");
            }
        }
        Ok(())
    }

    /// Prints lines, or `value` as JSON.
    pub fn say(&self, text: &str, value: &impl Serialize) -> anyhow::Result<()> {
        match self.output {
            Format::Json => println!("{}", serde_json::to_string_pretty(value)?),
            Format::Table => println!("{text}"),
        }
        Ok(())
    }
}

/// The text of a JSON value: strings without quotes, nothing for null.
pub fn text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
