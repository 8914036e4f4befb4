//! What an edge tells of each request: the flags for it.

use crate::up::parse_time;
use ::edge::{AccessLogConfig, Destination, LineFormat, Observation, RequestIds, TracesConfig};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

#[derive(clap::Args)]
#[command(next_help_heading = "What is told of requests")]
pub struct ObservationFlags {
    /// Write a line for each request to this file; `-`: to standard output
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// json: docs/observability.md names the fields; combined: Apache's
    #[arg(long, value_enum, default_value_t, requires = "access_log")]
    access_log_format: Format,
    /// One of so many requests; those that failed or were slow always
    #[arg(long, value_name = "NUMBER", default_value = "1", requires = "access_log")]
    access_log_sample: NonZeroU64,
    /// Requests that take longer are slow: 500ms, 2s
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "access_log")]
    access_log_slow: Option<Duration>,
    /// A parameter of queries whose value is never told, besides the known ones (repeatable)
    #[arg(long, value_name = "PARAMETER")]
    redact: Vec<String>,
    /// Give requests an X-Request-Id: to the server, and to the client
    #[arg(long, value_enum, default_value_t)]
    request_id: Ids,
    /// Send traces to this OpenTelemetry collector, by OTLP over HTTP: http://HOST:4318
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    /// Of traces that begin here, the share that is sampled: 0 to 1
    #[arg(long, value_name = "SHARE", value_parser = parse_share, default_value = "1", requires = "otlp")]
    trace_sample: f64,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Format {
    #[default]
    Json,
    Combined,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Ids {
    /// The header passes as any other
    #[default]
    Off,
    /// Servers get one
    Forward,
    /// And clients
    Respond,
}

impl ObservationFlags {
    pub fn observation(self) -> Observation {
        let redacted = self.redact;
        let access_log = self.access_log.map(|path| AccessLogConfig {
            to: if path.as_os_str() == "-" { Destination::StandardOutput } else { Destination::File(path) },
            format: match self.access_log_format {
                Format::Json => LineFormat::Json,
                Format::Combined => LineFormat::Combined,
            },
            sample: self.access_log_sample,
            slow: self.access_log_slow,
            redacted: redacted.clone(),
        });
        let traces = self.otlp.map(|collector| TracesConfig { collector, sample: self.trace_sample, redacted });
        let request_ids = match self.request_id {
            Ids::Off => RequestIds::Off,
            Ids::Forward => RequestIds::Forward,
            Ids::Respond => RequestIds::Respond,
        };
        Observation { access_log, traces, request_ids }
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("expected a share from 0 to 1, as in 0.05, not `{text}`"))
}
