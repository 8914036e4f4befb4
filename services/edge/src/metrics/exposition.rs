//! The two forms in which Prometheus reads metrics: its own text (version 0.0.4), and OpenMetrics 1.0 for whoever asks for it.

use prometheus_client::registry::Registry;
use std::fmt::{Display, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    OpenMetrics,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Gauge,
    Counter,
    Histogram,
}

/// Metrics as text, a family after the other.
#[derive(Debug)]
pub(crate) struct Exposition {
    format: Format,
    pub text: String,
}

const OPEN_METRICS: &str = "application/openmetrics-text";

impl Format {
    /// What a client asks for by its `Accept`.
    pub fn asked(accept: &str) -> Self {
        let mut wanted = accept.split(',').map(|range| range.split(';').map(str::trim));
        let is_open = wanted.any(|mut range| {
            range.next().is_some_and(|kind| kind.eq_ignore_ascii_case(OPEN_METRICS))
                && !range.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        });
        if is_open { Self::OpenMetrics } else { Self::Text }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => lifecycle::metrics::CONTENT_TYPE,
        }
    }
}

impl Exposition {
    pub fn new(format: Format) -> Self {
        Self { format, text: String::new() }
    }

    /// Begins a family; a counter's name is without its `_total`.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let (total, kind) = match kind {
            Kind::Gauge => ("", "gauge"),
            // OpenMetrics names the family, the older text its samples.
            Kind::Counter if self.format == Format::Text => ("_total", "counter"),
            Kind::Counter => ("", "counter"),
            Kind::Histogram => ("", "histogram"),
        };
        self.line(format_args!("# HELP {name}{total} {help}."));
        self.line(format_args!("# TYPE {name}{total} {kind}"));
        let unit = if self.format == Format::OpenMetrics { unit(name) } else { None };
        if let Some(unit) = unit {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
    }

    /// A line of a family; `labels` are as [`label`] makes them.
    pub fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        match labels {
            "" => self.line(format_args!("{name} {value}")),
            labels => self.line(format_args!("{name}{{{labels}}} {value}")),
        }
    }

    /// What others register, in the form that is written here.
    pub fn registry(&mut self, registry: &Registry) {
        let mut counter = None;
        for line in lifecycle::metrics::render(registry).lines() {
            let mut words = line.splitn(4, ' ');
            let (hash, what, name) = (words.next(), words.next(), words.next());
            let rest = words.next().unwrap_or_default();
            match (hash, what, name) {
                (Some("#"), Some("EOF"), _) => {}
                _ if self.format == Format::OpenMetrics => self.line(format_args!("{line}")),
                (Some("#"), Some("UNIT"), _) => {}
                // It comes before the type, which it takes its name from.
                (Some("#"), Some("HELP"), Some(name)) => counter = Some((name.to_owned(), rest.to_owned())),
                (Some("#"), Some("TYPE"), Some(name)) => {
                    let total = if rest == "counter" { "_total" } else { "" };
                    if let Some((_, help)) = counter.take().filter(|(known, _)| known == name) {
                        self.line(format_args!("# HELP {name}{total} {help}"));
                    }
                    self.line(format_args!("# TYPE {name}{total} {rest}"));
                }
                _ => self.line(format_args!("{line}")),
            }
        }
    }

    pub fn end(&mut self) {
        if self.format == Format::OpenMetrics {
            self.line(format_args!("# EOF"));
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.text.write_fmt(line).and_then(|()| self.text.write_char('\n')).expect("a String takes everything");
    }
}

/// The one that a name ends with.
fn unit(name: &str) -> Option<&'static str> {
    ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(unit))
}

/// `name="value"`, escaped.
pub(crate) fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
    format!("{name}=\"{value}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;

    fn page(format: Format) -> String {
        let mut registry = Registry::default();
        registry.register("reads", "Reads", Counter::<u64>::default());
        registry.register("routes", "Routes", Gauge::<i64>::default());
        let mut page = Exposition::new(format);
        page.registry(&registry);
        page.family("sent_bytes", Kind::Counter, "Sent");
        page.sample("sent_bytes_total", &label("to", "a\"\\\n"), 7);
        page.end();
        page.text
    }

    #[test]
    fn each_form_names_a_counter_in_its_way() {
        let text = "# HELP reads_total Reads.\n# TYPE reads_total counter\nreads_total 0\n# HELP routes Routes.\n\
                    # TYPE routes gauge\nroutes 0\n# HELP sent_bytes_total Sent.\n# TYPE sent_bytes_total counter\n\
                    sent_bytes_total{to=\"a\\\"\\\\\\n\"} 7\n";
        assert_eq!(page(Format::Text), text);
        let open = "# HELP reads Reads.\n# TYPE reads counter\nreads_total 0\n# HELP routes Routes.\n\
                    # TYPE routes gauge\nroutes 0\n# HELP sent_bytes Sent.\n# TYPE sent_bytes counter\n\
                    # UNIT sent_bytes bytes\nsent_bytes_total{to=\"a\\\"\\\\\\n\"} 7\n# EOF\n";
        assert_eq!(page(Format::OpenMetrics), open);
    }

    #[test]
    fn openmetrics_is_for_whoever_asks_for_it() {
        for accept in ["", "*/*", "text/plain;version=0.0.4", "application/openmetrics-text;q=0"] {
            assert_eq!(Format::asked(accept), Format::Text, "{accept}");
        }
        // Prometheus 2.
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        assert_eq!(Format::asked(prometheus), Format::OpenMetrics);
    }
}
