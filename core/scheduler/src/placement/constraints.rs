//! Marathon's constraints, checked at launch only, against the app's tasks that have not ended and whose nodes were not
//! given up.

use super::Reason;
use crate::{NodeRecord, Standing, World};
use model::{App, Constraint, ConstraintOperator, Node};
use regex::{Regex, RegexBuilder};
use std::collections::BTreeMap;

/// Memory one compiled LIKE or UNLIKE pattern may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// An app's constraints with what they are measured against.
pub(super) struct Constraints(Vec<Measured>);

struct Measured {
    constraint: Constraint,
    /// Tasks of the app per value of the field; the value of every node that takes tasks is in it, with 0 if need be.
    tasks_per_value: BTreeMap<String, usize>,
    pattern: Option<Regex>,
}

impl Constraints {
    pub(super) fn of(world: &World, app: &App) -> Self {
        Self(app.constraints.iter().map(|constraint| Measured::of(world, app, constraint)).collect())
    }

    pub(super) fn check(&self, node: &Node) -> Result<(), Reason> {
        match self.0.iter().find(|measured| !measured.is_met_by(node)) {
            None => Ok(()),
            Some(unmet) => Err(Reason::Constraint { text: unmet.constraint_text() }),
        }
    }
}

impl Measured {
    fn of(world: &World, app: &App, constraint: &Constraint) -> Self {
        let mut tasks_per_value = BTreeMap::new();
        let takes_tasks = |record: &&NodeRecord| record.connected && record.standing == Standing::Live;
        for record in world.nodes.values().filter(takes_tasks) {
            if let Some(value) = value_of(&record.node, &constraint.field) {
                tasks_per_value.entry(value.to_owned()).or_insert(0);
            }
        }
        let tasks = world.tasks.values().filter(|record| record.task.app == app.id && !record.seen.state.is_terminal());
        for record in tasks {
            let node = world.nodes.get(&record.task.node).filter(|node| !node.standing.is_lost());
            if let Some(value) = node.and_then(|record| value_of(&record.node, &constraint.field)) {
                *tasks_per_value.entry(value.to_owned()).or_insert(0) += 1;
            }
        }
        let pattern = match constraint.operator {
            ConstraintOperator::Like | ConstraintOperator::Unlike => {
                let pattern = format!("^(?:{})$", constraint.value.as_deref().unwrap_or_default());
                RegexBuilder::new(&pattern).size_limit(PATTERN_BYTES_MAX).build().ok()
            }
            _ => None,
        };
        Self { constraint: constraint.clone(), tasks_per_value, pattern }
    }

    fn is_met_by(&self, node: &Node) -> bool {
        let Some(value) = value_of(node, &self.constraint.field) else {
            return self.constraint.operator == ConstraintOperator::Unlike;
        };
        let tasks = self.tasks_per_value.get(value).copied().unwrap_or(0);
        let wanted = self.constraint.value.as_deref();
        match self.constraint.operator {
            ConstraintOperator::Unique => tasks == 0,
            ConstraintOperator::Cluster => match wanted.filter(|wanted| !wanted.is_empty()) {
                Some(wanted) => value == wanted,
                None => self.tasks_per_value.values().sum::<usize>() == tasks,
            },
            ConstraintOperator::GroupBy => {
                // With fewer groups known than there should be, the missing ones count as empty.
                let groups_min = wanted.and_then(|wanted| wanted.parse().ok()).unwrap_or(0);
                let known = self.tasks_per_value.len();
                let fewest = self.tasks_per_value.values().min().copied().unwrap_or(0);
                tasks <= if known < groups_min { 0 } else { fewest }
            }
            ConstraintOperator::Like => self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(value)),
            ConstraintOperator::Unlike => self.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(value)),
            ConstraintOperator::MaxPer => {
                wanted.and_then(|wanted| wanted.parse().ok()).is_some_and(|tasks_max: usize| tasks < tasks_max)
            }
            ConstraintOperator::Is => wanted == Some(value),
        }
    }

    fn constraint_text(&self) -> String {
        let Constraint { field, operator, value } = &self.constraint;
        let operator = operator.name();
        format!("[{field}, {operator}{}{}]", if value.is_some() { ", " } else { "" }, value.as_deref().unwrap_or(""))
    }
}

fn value_of<'a>(node: &'a Node, field: &str) -> Option<&'a str> {
    match field {
        "hostname" | "@hostname" => Some(&node.hostname),
        attribute => node.attributes.get(attribute.trim_start_matches('@')).map(String::as_str),
    }
}
