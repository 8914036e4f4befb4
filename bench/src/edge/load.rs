//! The load: `wrk`, and `h2load` where HTTP/2 or a fixed rate is asked for. Both are C, and dearer than no proxy.

use super::proxy::{Face, HOST, OTHER_CORE, Proxy, pinned};
use anyhow::{Context, bail};
use std::net::SocketAddr;
use std::process::Output;
use std::time::Duration;

#[derive(Clone, Copy)]
pub struct Load {
    pub connections: u32,
    pub path: &'static str,
    /// Every request on a connection of its own.
    pub close: bool,
    pub h2: bool,
    /// As many as can be answered, if absent.
    pub per_second: Option<u64>,
    /// So many of the other hosts are asked for instead of the usual one, in no order.
    pub hosts: Option<usize>,
}

#[derive(Debug, Default, PartialEq)]
pub struct Answered {
    pub requests: u64,
    pub failed: u64,
    pub p99_microseconds: f64,
}

/// Requests of one HTTP/2 connection under way at once.
const STREAMS: u32 = 10;
/// HTTP/2 multiplexes: fewer connections carry as many requests.
const H2_CONNECTIONS: u32 = 8;

impl Load {
    pub async fn run(&self, proxy: &Proxy, length: Duration) -> anyhow::Result<Answered> {
        let scheme = match proxy.face {
            Face::Plain => "http",
            Face::Tls => "https",
        };
        let seconds = length.as_secs_f64().ceil().to_string();
        match self.h2 || self.per_second.is_some() {
            true => self.h2load(scheme, proxy.address, &seconds).await,
            false => self.wrk(&format!("{scheme}://{}{}", proxy.address, self.path), &seconds).await,
        }
    }

    async fn wrk(&self, url: &str, seconds: &str) -> anyhow::Result<Answered> {
        let connections = self.connections.to_string();
        let mut command = pinned(OTHER_CORE, "wrk");
        command.args(["-t1", "-c", &connections, "-d", seconds, "--latency", "-H", &format!("Host: {HOST}")]);
        if self.close {
            command.args(["-H", "Connection: close"]);
        }
        let script = tempfile::NamedTempFile::new()?;
        if let Some(hosts) = self.hosts {
            let text = format!(
                "request = function() return wrk.format(nil, nil, {{ Host = \"host\" .. math.random(0, {}) .. \".example\" }}) end\n",
                hosts - 1
            );
            std::fs::write(script.path(), text)?;
            command.arg("-s").arg(script.path());
        }
        command.arg(url);
        of_wrk(&finished(command).await?)
    }

    async fn h2load(&self, scheme: &str, address: SocketAddr, seconds: &str) -> anyhow::Result<Answered> {
        let connections = if self.h2 { H2_CONNECTIONS } else { self.connections };
        let mut command = pinned(OTHER_CORE, "h2load");
        command.args(["-t1", "-c", &connections.to_string(), "-D", seconds]);
        command.arg(format!("--connect-to={address}"));
        match self.h2 {
            true => command.args(["-m", &STREAMS.to_string()]),
            false => command.arg("--h1"),
        };
        if let Some(rate) = self.per_second {
            command.args(["--rps", &(rate / u64::from(connections)).max(1).to_string()]);
        }
        // Its own percentiles are coarse: the log has a line per request.
        let log = tempfile::NamedTempFile::new()?;
        command.arg("--log-file").arg(log.path()).arg(format!("{scheme}://{HOST}{}", self.path));
        let output = finished(command).await?;
        of_h2load(&output, &std::fs::read_to_string(log.path())?)
    }
}

async fn finished(mut command: std::process::Command) -> anyhow::Result<String> {
    let named = format!("{command:?}");
    let output: Output = tokio::task::spawn_blocking(move || command.output()).await?.with_context(|| named.clone())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{named} ended with {}: {}{text}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}

fn of_wrk(text: &str) -> anyhow::Result<Answered> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let line = |mark: &str| text.lines().find(|line| line.contains(mark)).map(words);
    let requests = line(" requests in ").and_then(|words| words.first()?.parse().ok());
    let requests = requests.with_context(|| format!("wrk says how many requests: {text}"))?;
    let statuses: u64 = line("Non-2xx").and_then(|words| words.last()?.parse().ok()).unwrap_or(0);
    let number = |word: &String| word.trim_end_matches(',').parse::<u64>().unwrap_or(0);
    let errors: u64 = line("Socket errors").map_or(0, |words| words.iter().map(number).sum());
    // Not any line with it: the shares within one deviation may be 97.99%, too.
    let p99 = text.lines().find_map(|line| microseconds(line.trim_start().strip_prefix("99% ")?.trim_start()));
    let p99_microseconds = p99.with_context(|| format!("wrk says its 99th percentile: {text}"))?;
    Ok(Answered { requests, failed: statuses + errors, p99_microseconds })
}

fn microseconds(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 6e7)];
    units.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

/// `log` has lines of: start, status, duration in microseconds.
fn of_h2load(text: &str, log: &str) -> anyhow::Result<Answered> {
    let line = text.lines().find(|line| line.starts_with("requests: "));
    let line = line.with_context(|| format!("h2load says how many requests: {text}"))?;
    let count = |mark: &str| {
        let before = line.split(mark).next()?;
        before.rsplit([' ', ',']).find(|word| !word.is_empty())?.parse::<u64>().ok()
    };
    let (requests, failed) = (count(" succeeded"), count(" failed"));
    let mut durations: Vec<f64> = log.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse().ok()).collect();
    durations.sort_by(f64::total_cmp);
    let p99 = durations.get(durations.len().saturating_sub(1) * 99 / 100).copied();
    Ok(Answered {
        requests: requests.context("a count of successes")?,
        failed: failed.context("a count of failures")?,
        p99_microseconds: p99.context("h2load logs its requests")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_generators_print_is_read() {
        let wrk = "    Latency   639.99us  644.38us  12.57ms   97.99%\n  Latency Distribution\n     50%  794.00us\n     99%    1.74ms\n  126594 requests in 2.00s, 20MB read\n";
        let read = of_wrk(wrk).unwrap();
        assert_eq!((read.requests, read.failed), (126_594, 0));
        assert!((read.p99_microseconds - 1740.0).abs() < 1e-6);
        let bad =
            format!("{wrk}  Socket errors: connect 0, read 3, write 1, timeout 0\n  Non-2xx or 3xx responses: 5\n");
        assert_eq!(of_wrk(&bad).unwrap().failed, 9);
        assert!(of_wrk("unable to connect").is_err());

        let h2load = "requests: 1000 total, 1000 started, 998 done, 997 succeeded, 1 failed, 0 errored, 0 timeout\n";
        let log = "1\t200\t300\n2\t200\t100\n3\t200\t200\n";
        let read = of_h2load(h2load, log).unwrap();
        assert_eq!((read.requests, read.failed), (997, 1));
        assert!((read.p99_microseconds - 200.0).abs() < 1e-6);
    }
}
