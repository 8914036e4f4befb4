//! The fields of an app, their defaults and limits.

use super::fields::{Item, Object};
use super::{constraints, container, health, network};
use crate::rejection::Faults;
use model::resources::{cpus_to_milli, mib_to_bytes};
use model::{App, AppId, KillSelection, Network, Timestamp, UpgradeStrategy};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Instances one app may ask for.
const INSTANCES_MAX: u32 = 1_000_000;
const CPUS_MAX: f64 = 1e6;
/// MiB of memory or disk one task may ask for: 1 PiB.
const MIB_MAX: f64 = (1_u64 << 30) as f64;
const BACKOFF_FACTOR_MAX: f64 = 1e6;

/// Marathon 0.8's defaults.
const CPUS_DEFAULT: f64 = 1.0;
const MEM_MIB_DEFAULT: f64 = 128.0;
const BACKOFF_DEFAULT: Duration = Duration::from_secs(1);
const BACKOFF_FACTOR_DEFAULT: f64 = 1.15;
const LAUNCH_DELAY_MAX_DEFAULT: Duration = Duration::from_secs(3600);
/// Between SIGTERM and SIGKILL: Mesos' executor shutdown grace.
const KILL_GRACE_DEFAULT: Duration = Duration::from_secs(5);

/// Fields that mean nothing here but are shown again. Empty values are not kept: they are the defaults.
const KEPT: [&str; 14] = [
    "acceptedResourceRoles",
    "check",
    "executor",
    "executorResources",
    "fetch",
    "ipAddress",
    "readinessChecks",
    "resourceLimits",
    "role",
    "secrets",
    "storeUrls",
    "tty",
    "unreachableStrategy",
    "uris",
];

/// An app with nothing said about it.
pub fn defaults(id: AppId) -> App {
    App {
        id,
        version: Timestamp::EPOCH,
        instances: 1,
        cmd: None,
        args: None,
        user: None,
        env: BTreeMap::new(),
        labels: BTreeMap::new(),
        cpus_milli: cpus_to_milli(CPUS_DEFAULT),
        mem_bytes: mib_to_bytes(MEM_MIB_DEFAULT),
        disk_bytes: 0,
        image: None,
        network: Network::Host,
        ports: Vec::new(),
        require_ports: false,
        volumes: Vec::new(),
        constraints: Vec::new(),
        health_checks: Vec::new(),
        upgrade_strategy: UpgradeStrategy::default(),
        backoff: BACKOFF_DEFAULT,
        backoff_factor: BACKOFF_FACTOR_DEFAULT,
        launch_delay_max: LAUNCH_DELAY_MAX_DEFAULT,
        kill_grace: KILL_GRACE_DEFAULT,
        kill_selection: KillSelection::YoungestFirst,
        dependencies: Vec::new(),
        extra: BTreeMap::new(),
    }
}

/// Sets `field` when the document gives it.
fn set<T>(field: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *field = given;
    }
}

/// Applies the given fields. `existing` is the app as it was, when there is one.
pub fn fill(app: &mut App, existing: Option<&App>, object: &Object<'_>, faults: &mut Faults) {
    set(&mut app.instances, object.integer("instances", 0..=INSTANCES_MAX, faults));
    set(&mut app.env, object.text_map("env", faults));
    set(&mut app.labels, object.text_map("labels", faults));
    set(&mut app.cpus_milli, object.number("cpus", 0.0..=CPUS_MAX, faults).map(cpus_to_milli));
    set(&mut app.mem_bytes, object.number("mem", 0.0..=MIB_MAX, faults).map(mib_to_bytes));
    set(&mut app.disk_bytes, object.number("disk", 0.0..=MIB_MAX, faults).map(mib_to_bytes));
    set(&mut app.backoff, object.seconds("backoffSeconds", faults));
    set(&mut app.backoff_factor, object.number("backoffFactor", 1.0..=BACKOFF_FACTOR_MAX, faults).map(rounded));
    set(&mut app.launch_delay_max, object.seconds("maxLaunchDelaySeconds", faults));
    set(&mut app.kill_grace, object.seconds("taskKillGracePeriodSeconds", faults));
    if let Some(user) = object.text("user", faults) {
        app.user = Some(user).filter(|user| !user.is_empty());
    }
    fill_command(app, object, faults);
    container::fill(app, object, faults);
    network::fill(app, existing, object, faults);
    if let Some(constraints) = object.list("constraints", faults) {
        app.constraints = constraints.iter().filter_map(|item| constraints::constraint(item, faults)).collect();
    }
    fill_upgrade_strategy(app, object, faults);
    fill_kill_selection(app, object, faults);
    fill_dependencies(app, object, faults);
    health::fill(app, object, faults);
    fill_extra(app, object, faults);

    if app.cmd.is_none() && app.args.is_none() && app.image.is_none() {
        faults.value(object.own_path(), COMMAND_MISSING);
    }
}

/// Kept to six decimals, so that a number survives being written and read without a bit of noise at its end.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

const COMMAND_MISSING: &str = "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.";

/// A given `cmd` replaces `args`, and the other way round.
fn fill_command(app: &mut App, object: &Object<'_>, faults: &mut Faults) {
    let cmd = object.text("cmd", faults);
    let args = object.texts("args", faults);
    match (cmd.filter(|cmd| !cmd.is_empty()), args) {
        (Some(_), Some(args)) if !args.is_empty() => faults.value(object.own_path(), COMMAND_MISSING),
        (Some(cmd), _) => {
            app.cmd = Some(cmd);
            app.args = None;
        }
        (None, Some(args)) => {
            app.args = Some(args).filter(|args| !args.is_empty());
            if app.args.is_some() {
                app.cmd = None;
            }
        }
        (None, None) => {}
    }
}

fn fill_upgrade_strategy(app: &mut App, object: &Object<'_>, faults: &mut Faults) {
    let Some(strategy) = object.object("upgradeStrategy", faults) else { return };
    let mut part = |name| {
        let number = strategy.number(name, f64::MIN..=f64::MAX, faults)?;
        if number < 0.0 {
            faults.value(strategy.path(name), "is less than 0");
        } else if number > 1.0 {
            faults.value(strategy.path(name), "is greater than 1");
        }
        Some(rounded(number))
    };
    set(&mut app.upgrade_strategy.minimum_health_capacity, part("minimumHealthCapacity"));
    set(&mut app.upgrade_strategy.maximum_over_capacity, part("maximumOverCapacity"));
}

fn fill_kill_selection(app: &mut App, object: &Object<'_>, faults: &mut Faults) {
    match object.text("killSelection", faults).as_deref() {
        None => {}
        Some("YOUNGEST_FIRST") => app.kill_selection = KillSelection::YoungestFirst,
        Some("OLDEST_FIRST") => app.kill_selection = KillSelection::OldestFirst,
        Some(_) => faults.value(object.path("killSelection"), "must be YOUNGEST_FIRST or OLDEST_FIRST"),
    }
}

/// Relative ids are read against the app's parent.
fn fill_dependencies(app: &mut App, object: &Object<'_>, faults: &mut Faults) {
    let Some(items) = object.list("dependencies", faults) else { return };
    let parent = app.id.as_str().rsplit_once('/').map_or("", |(parent, _)| parent).to_owned();
    let mut dependencies = Vec::new();
    for Item { path, value } in items {
        let Some(text) = (Item { path: path.clone(), value }).text(faults) else { continue };
        let absolute = if text.starts_with('/') { text } else { format!("{parent}/{text}") };
        match AppId::parse(&absolute) {
            Ok(id) if id == app.id => faults.value(path, "Dependency graph has cyclic dependencies"),
            Ok(id) => dependencies.push(id),
            Err(error) => faults.value(path, error.to_string()),
        }
    }
    app.dependencies = dependencies;
}

fn fill_extra(app: &mut App, object: &Object<'_>, faults: &mut Faults) {
    for name in KEPT {
        let Some(item) = object.get(name) else { continue };
        let empty = match item.value {
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            _ => false,
        };
        if empty {
            app.extra.remove(name);
        } else {
            app.extra.insert(name.to_owned(), item.value.to_string());
        }
    }
    if object.number("gpus", 0.0..=f64::MAX, faults).is_some_and(|gpus| gpus > 0.0) {
        faults.value(object.path("gpus"), "GPUs are not supported");
    }
    if object.has("residency") {
        faults.value(object.path("residency"), "resident tasks are not supported");
    }
}
