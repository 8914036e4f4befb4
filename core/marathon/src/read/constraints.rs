//! Constraints: `[field, operator, value?]`, or as an object since 1.5's pods.

use super::fields::Item;
use crate::rejection::Faults;
use model::{Constraint, ConstraintOperator};
use regex::RegexBuilder;

/// Bytes a compiled pattern may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;

pub fn constraint(item: &Item<'_>, faults: &mut Faults) -> Option<Constraint> {
    let parts = item.list(faults)?;
    let texts: Vec<String> = parts.iter().filter_map(|part| text(part, faults)).collect();
    if texts.len() != parts.len() {
        return None;
    }
    let [field, operator, rest @ ..] = texts.as_slice() else {
        faults.value(item.path.clone(), "must be [field, operator] or [field, operator, value]");
        return None;
    };
    let Some(operator) = ConstraintOperator::ALL.into_iter().find(|known| known.name() == operator) else {
        let error = "operator must be one of UNIQUE, CLUSTER, GROUP_BY, LIKE, UNLIKE, MAX_PER, IS";
        faults.value(item.path.clone(), error);
        return None;
    };
    if rest.len() > 1 {
        faults.value(item.path.clone(), "must be [field, operator] or [field, operator, value]");
        return None;
    }
    let value = rest.first().filter(|value| !value.is_empty()).cloned();
    if let Some(error) = value_fault(operator, value.as_deref()) {
        faults.value(item.path.clone(), error);
        return None;
    }
    Some(Constraint { field: field.clone(), operator, value })
}

/// A text, or a number as its text: `["rack", "GROUP_BY", 2]`.
fn text(item: &Item<'_>, faults: &mut Faults) -> Option<String> {
    if item.value.is_number() { Some(item.value.to_string()) } else { item.text(faults) }
}

/// What is wrong with a value for an operator.
fn value_fault(operator: ConstraintOperator, value: Option<&str>) -> Option<&'static str> {
    match (operator, value) {
        (ConstraintOperator::Unique, Some(_)) => Some("Value specified but not used"),
        (ConstraintOperator::Unique | ConstraintOperator::Cluster | ConstraintOperator::GroupBy, None) => None,
        (ConstraintOperator::Cluster | ConstraintOperator::Is, Some(_)) => None,
        (ConstraintOperator::GroupBy | ConstraintOperator::MaxPer, Some(value)) => {
            value.parse::<u32>().is_err().then_some("Value was specified but is not a number")
        }
        (ConstraintOperator::Like | ConstraintOperator::Unlike, Some(value)) => {
            let pattern = RegexBuilder::new(&format!("^(?:{value})$")).size_limit(PATTERN_BYTES_MAX).build();
            pattern.is_err().then_some("is not a regular expression (of those that run in linear time)")
        }
        (ConstraintOperator::Like | ConstraintOperator::Unlike, None) => {
            Some("A regular expression value must be provided")
        }
        (ConstraintOperator::MaxPer, None) => Some("A number must be provided"),
        (ConstraintOperator::Is, None) => Some("A value must be provided"),
    }
}
