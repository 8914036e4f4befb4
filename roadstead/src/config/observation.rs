//! `[edge.observation]`: what the edge tells of each request.

use super::ConfigError;
use serde::Deserialize;
use std::path::PathBuf;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Observation {
    /// A file with a line for each request.
    pub access_log: Option<PathBuf>,
    /// `json` or `combined`.
    pub access_log_format: Option<String>,
    /// One of so many requests; those that failed or were slow always.
    pub access_log_sample: Option<u64>,
    /// What takes longer is slow.
    pub access_log_slow_ms: Option<u64>,
    /// Parameters of queries whose values are never told, besides the known ones.
    pub redact: Vec<String>,
    /// `off`, `forward` or `respond`.
    pub request_id: Option<String>,
    /// Where traces go: `http://HOST:4318`.
    pub otlp: Option<String>,
    /// Of traces that begin at the edge, the share that is sampled.
    pub trace_sample: Option<f64>,
}

impl Observation {
    pub fn check(&self) -> Result<(), ConfigError> {
        let refuse = |message: &str| Err(ConfigError::Usage(format!("edge.observation: {message}")));
        let is_one_of =
            |value: &Option<String>, known: &[&str]| value.as_deref().is_none_or(|value| known.contains(&value));
        if self.access_log.as_ref().is_some_and(|path| !path.is_absolute()) {
            return refuse("access_log is the absolute path of a file");
        }
        if !is_one_of(&self.access_log_format, &["json", "combined"]) {
            return refuse("access_log_format is json or combined");
        }
        if self.access_log_sample == Some(0) {
            return refuse("access_log_sample is 1 at least");
        }
        let of_log =
            self.access_log_format.is_some() || self.access_log_sample.is_some() || self.access_log_slow_ms.is_some();
        if of_log && self.access_log.is_none() {
            return refuse("access_log is missing: the file that it is written to");
        }
        if !is_one_of(&self.request_id, &["off", "forward", "respond"]) {
            return refuse("request_id is off, forward or respond");
        }
        if self.trace_sample.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return refuse("trace_sample is a share from 0 to 1");
        }
        if self.trace_sample.is_some() && self.otlp.is_none() {
            return refuse("otlp is missing: where traces go");
        }
        Ok(())
    }

    /// The flags of the role.
    pub fn arguments(&self) -> Vec<String> {
        let flags = [
            ("--access-log", self.access_log.as_ref().map(|path| path.display().to_string())),
            ("--access-log-format", self.access_log_format.clone()),
            ("--access-log-sample", self.access_log_sample.map(|number| number.to_string())),
            ("--access-log-slow", self.access_log_slow_ms.map(|millis| format!("{millis}ms"))),
            ("--request-id", self.request_id.clone()),
            ("--otlp", self.otlp.clone()),
            ("--trace-sample", self.trace_sample.map(|share| share.to_string())),
        ];
        let given = flags.into_iter().filter_map(|(flag, value)| Some((flag, value?)));
        let redact = self.redact.iter().map(|parameter| ("--redact", parameter.clone()));
        given.chain(redact).flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn what_is_told_of_requests_becomes_flags_of_the_edge() {
        let text = "[edge.observation]\naccess_log = \"/var/log/edge.log\"\naccess_log_slow_ms = 500\n\
                    redact = [\"session\"]\notlp = \"http://10.0.0.9:4318\"\ntrace_sample = 0.1\n";
        let config = Config::parse(text).unwrap();
        assert!(config.check().is_ok());
        let expected = "--access-log /var/log/edge.log --access-log-slow 500ms --otlp http://10.0.0.9:4318 \
                        --trace-sample 0.1 --redact session";
        assert_eq!(config.edge.observation.arguments().join(" "), expected);
        assert!(Config::default().edge.observation.arguments().is_empty());
        for (wrong, told) in [
            ("access_log = \"edge.log\"", "absolute path"),
            ("access_log_sample = 5", "access_log is missing"),
            ("access_log = \"/x\"\naccess_log_format = \"xml\"", "json or combined"),
            ("request_id = \"yes\"", "off, forward or respond"),
            ("otlp = \"http://a\"\ntrace_sample = 2.0", "from 0 to 1"),
            ("trace_sample = 0.5", "otlp is missing"),
        ] {
            let error = Config::parse(&format!("[edge.observation]\n{wrong}\n")).unwrap().check().unwrap_err();
            assert!(error.to_string().contains(told), "{wrong}: {error}");
        }
    }
}
