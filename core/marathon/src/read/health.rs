//! Health checks.

use super::fields::Object;
use crate::rejection::Faults;
use model::{App, HealthCheck, HealthProtocol};
use std::time::Duration;

/// Checks one app may have.
const CHECKS_MAX: usize = 64;

/// Marathon 0.8's defaults (0.7.6 had a grace of 15 s and an interval of 10 s).
const GRACE_DEFAULT: Duration = Duration::from_secs(300);
const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(20);
const CONSECUTIVE_FAILURES_MAX_DEFAULT: u32 = 3;

pub fn fill(app: &mut App, object: &Object<'_>, faults: &mut Faults) {
    if let Some(entries) = object.objects("healthChecks", faults) {
        if entries.len() > CHECKS_MAX {
            faults.value(object.path("healthChecks"), format!("an app has at most {CHECKS_MAX} health checks"));
        }
        let checks: Vec<HealthCheck> = entries.iter().filter_map(|entry| check(app, entry, faults)).collect();
        app.health_checks = checks;
    }
    // Also when only the ports were changed.
    for (index, check) in app.health_checks.iter().enumerate() {
        if check.protocol != HealthProtocol::Command && check.port_index >= app.ports.len() {
            let error =
                "Health check port indices must address an element of the ports array or container port mappings.";
            faults.value(format!("{}({index})/portIndex", object.path("healthChecks")), error);
        }
    }
}

fn check(app: &App, entry: &Object<'_>, faults: &mut Faults) -> Option<HealthCheck> {
    let protocol = match entry.text("protocol", faults).as_deref() {
        None | Some("HTTP" | "MESOS_HTTP") => HealthProtocol::Http,
        Some("TCP" | "MESOS_TCP") => HealthProtocol::Tcp,
        Some("COMMAND") => HealthProtocol::Command,
        Some("HTTPS" | "MESOS_HTTPS") => {
            faults.value(entry.path("protocol"), "HTTPS checks are not supported");
            return None;
        }
        Some(_) => {
            faults.value(entry.path("protocol"), "must be HTTP, TCP or COMMAND");
            return None;
        }
    };
    let command = command(entry, faults);
    let path = entry.text("path", faults);
    if protocol == HealthProtocol::Command && command.is_none() {
        faults.value(entry.path("command"), "a COMMAND check needs a command");
    }
    let port_index = entry.integer("portIndex", 0..=u32::from(u16::MAX), faults).unwrap_or(0) as usize;
    let port_index = match entry.port("port", faults) {
        Some(port) => port_named(app, port).unwrap_or_else(|| {
            faults.value(entry.path("port"), "must be one of the app's ports (or use portIndex)");
            port_index
        }),
        None => port_index,
    };
    Some(HealthCheck {
        protocol,
        path: if protocol == HealthProtocol::Http { absolute(path.unwrap_or_default()) } else { String::new() },
        port_index: if protocol == HealthProtocol::Command { 0 } else { port_index },
        command: command.filter(|_| protocol == HealthProtocol::Command),
        grace: entry.seconds("gracePeriodSeconds", faults).unwrap_or(GRACE_DEFAULT),
        interval: positive(entry, "intervalSeconds", INTERVAL_DEFAULT, faults),
        timeout: positive(entry, "timeoutSeconds", TIMEOUT_DEFAULT, faults),
        consecutive_failures_max: entry
            .integer("maxConsecutiveFailures", 0..=u32::MAX, faults)
            .unwrap_or(CONSECUTIVE_FAILURES_MAX_DEFAULT),
    })
}

/// `{"value": "…"}`, or `{"command": {"value"}}`'s content as a plain text.
fn command(entry: &Object<'_>, faults: &mut Faults) -> Option<String> {
    let item = entry.get("command")?;
    let text = if item.value.is_string() { item.text(faults) } else { item.object(faults)?.text("value", faults) };
    text.filter(|text| !text.is_empty())
}

fn absolute(path: String) -> String {
    if path.starts_with('/') { path } else { format!("/{path}") }
}

fn positive(entry: &Object<'_>, name: &str, default: Duration, faults: &mut Faults) -> Duration {
    match entry.seconds(name, faults) {
        Some(Duration::ZERO) => {
            faults.value(entry.path(name), "must be greater than 0");
            default
        }
        Some(duration) => duration,
        None => default,
    }
}

fn port_named(app: &App, port: u16) -> Option<usize> {
    let position = |number: fn(&model::PortMapping) -> u16| app.ports.iter().position(|port_| number(port_) == port);
    position(|port| port.host_port)
        .or_else(|| position(|port| port.container_port))
        .or_else(|| position(|port| port.service_port))
}
