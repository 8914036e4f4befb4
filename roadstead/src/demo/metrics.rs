//! The edge's metrics, as far as the demo reads them.

use std::collections::BTreeMap;

/// Bytes sent towards the servers of a route: request heads and bodies.
const REQUEST_BYTES: &str = "edge_route_request_bytes_total";

#[derive(Clone, Debug, Default)]
pub struct EdgeMetrics {
    request_bytes: BTreeMap<String, u64>,
}

impl EdgeMetrics {
    /// Reads Prometheus' text format, and adds to what another edge told.
    pub fn add(&mut self, text: &str) {
        for line in text.lines() {
            let Some((labels, value)) = line.strip_prefix(REQUEST_BYTES).and_then(|rest| rest.rsplit_once(' ')) else {
                continue;
            };
            let route = labels.split_once("route=\"").and_then(|(_, rest)| rest.split_once('"'));
            if let (Some((route, _)), Ok(value)) = (route, value.parse::<u64>()) {
                *self.request_bytes.entry(route.to_owned()).or_default() += value;
            }
        }
    }

    /// Bytes sent towards the servers of every route whose id holds `text`.
    pub fn request_bytes(&self, text: &str) -> u64 {
        self.request_bytes.iter().filter(|(route, _)| route.contains(text)).map(|(_, bytes)| bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::EdgeMetrics;

    #[test]
    fn bytes_are_summed_by_route() {
        let text = "# TYPE x counter\nedge_route_request_bytes_total{route=\"platform-s3\"} 7\n\
                    edge_route_request_bytes_total{route=\"platform-s3-buckets\"} 5\nother{route=\"platform-s3\"} 9\n";
        let mut metrics = EdgeMetrics::default();
        metrics.add(text);
        assert_eq!(metrics.request_bytes("platform-s3"), 12);
        metrics.add(text);
        assert_eq!(metrics.request_bytes("platform-s3"), 24, "of two edges");
        assert_eq!(metrics.request_bytes("s3pics"), 0);
    }
}
