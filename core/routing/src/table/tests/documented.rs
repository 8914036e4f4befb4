//! What docs/routes.md says is so.

use super::*;
use crate::expression::{ALTERNATIVES_MAX, EXPRESSION_BYTES_MAX, Expression, HOST_BYTES_MAX, MATCHERS_MAX};
use crate::lexer::NESTING_MAX;
use crate::pattern::{HOLES_MAX, PATTERN_BYTES_MAX};

const TEXT: &str = include_str!("../../../../../docs/routes.md");

/// The cells of the rows of the table that begins with this line.
fn rows(head: &str) -> Vec<Vec<&'static str>> {
    let rows = TEXT.lines().skip_while(|line| *line != head).skip(2).take_while(|line| line.starts_with('|'));
    let rows: Vec<Vec<_>> = rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect();
    assert!(rows.len() > 5, "{head}");
    rows
}

#[test]
fn the_documented_order_holds() {
    for row in rows("| this | goes before | because |") {
        let [first, second] = [row[0].trim_matches('`'), row[1].trim_matches('`')];
        let table = table(&[second, first]);
        assert_eq!(table.routes()[table.in_order()[0]].id, first, "before {second}");
    }
}

#[test]
fn the_documented_rules_are_rules() {
    let block = TEXT.split("```").nth(1).unwrap();
    let rules: Vec<&str> = block.lines().filter(|line| !line.is_empty()).collect();
    assert!(rules.len() > 3);
    for rule in rules {
        Expression::parse(rule).unwrap_or_else(|error| panic!("{rule}: {error}"));
    }
}

#[test]
fn the_documented_limits_are_the_limits() {
    let documented: Vec<usize> =
        rows("| | at most | |").iter().filter_map(|row| row[1].replace(',', "").parse().ok()).collect();
    let limits = [
        EXPRESSION_BYTES_MAX,
        MATCHERS_MAX,
        ALTERNATIVES_MAX,
        NESTING_MAX,
        PATTERN_BYTES_MAX,
        HOLES_MAX,
        HOST_BYTES_MAX,
    ];
    assert_eq!(documented, limits);
}
