//! The public names of an app: ours, or those its labels carry already (marathon-lb's, traefik's).

use super::tcp;
use model::App;
use serde_json::{Value, json};

/// Public names one app may have.
const RULES_MAX: usize = 64;

pub(super) struct Rule {
    /// In the edge's route language.
    pub expression: String,
    /// What a label asked for and the expression does not say; the edge reports it.
    pub unknown: Vec<Value>,
}

impl Rule {
    fn new(expression: String) -> Self {
        Self { expression, unknown: Vec::new() }
    }
}

/// At least one, but of an app that takes connections and has no label that names requests.
pub(super) fn rules(app: &App, domain: &str) -> Vec<Rule> {
    let mut rules = labelled(app);
    rules.truncate(RULES_MAX);
    if rules.is_empty() && tcp::of(app).is_none() {
        rules.push(Rule::new(host(&format!("{}.{domain}", app.id.host_label()))));
    }
    rules
}

/// The first host name among the rules, for an address to show.
pub(super) fn host_name(app: &App, domain: &str) -> Option<String> {
    rules(app, domain).iter().find_map(|rule| {
        let (name, _) = rule.expression.strip_prefix("Host(`")?.split_once("`)")?;
        Some(name.to_owned())
    })
}

fn labelled(app: &App) -> Vec<Rule> {
    if let Some(rule) = app.labels.get("roadstead.rule") {
        return vec![Rule::new(rule.clone())];
    }
    for label in ["roadstead.host", "HAPROXY_0_VHOST"] {
        if let Some(hosts) = app.labels.get(label) {
            return hosts.split(',').filter_map(valid_host).map(|name| Rule::new(host(&name))).collect();
        }
    }
    if let Some(rule) = app.labels.get("traefik.frontend.rule") {
        return traefik_1(rule);
    }
    let is_rule = |label: &str| label.starts_with("traefik.http.routers.") && label.ends_with(".rule");
    let rules = app.labels.iter().filter(|(label, _)| is_rule(label));
    rules.flat_map(|(_, rule)| rule.split("||")).map(|rule| Rule::new(rule.trim().to_owned())).collect()
}

/// `Host:a,b;Path:/x`.
fn traefik_1(rule: &str) -> Vec<Rule> {
    let mut hosts = Vec::new();
    let mut rest = String::new();
    let mut unknown = Vec::new();
    for part in rule.split(';') {
        let (matcher, value) = part.split_once(':').unwrap_or((part, ""));
        match matcher.trim() {
            "Host" => hosts.extend(value.split(',').filter_map(valid_host)),
            "Path" if !value.contains('`') => rest.push_str(&format!(" && Path(`{}`)", value.trim())),
            "Method" if !value.contains('`') => rest.push_str(&format!(" && Method(`{}`)", value.trim())),
            _ => unknown.push(json!({ "label": "traefik.frontend.rule", "value": part.trim() })),
        }
    }
    let rule = |name: String| Rule { expression: format!("{}{rest}", host(&name)), unknown: unknown.clone() };
    hosts.into_iter().map(rule).collect()
}

fn host(name: &str) -> String {
    format!("Host(`{name}`)")
}

/// Lower-case; `None` for what cannot be a host name.
fn valid_host(name: &str) -> Option<String> {
    let name = name.trim().to_ascii_lowercase();
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (!name.is_empty() && name.chars().all(valid)).then_some(name)
}
