//! What the registry counts, at `/metrics`.

use lifecycle::metrics::Registry as Metered;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Answer {
    pub method: String,
    pub status: u16,
}

#[derive(Debug)]
pub struct Metrics {
    metered: Metered,
    pub requests: Family<Answer, Counter>,
    pub upload_bytes: Counter,
    pub download_bytes: Counter,
    pub commits: Counter,
    pub duplicate_commits: Counter,
    pub collected_objects: Counter,
    pub sessions: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metered = Metered::with_prefix("roadstead_registry");
        let requests = Family::<Answer, Counter>::default();
        metered.register("requests", "Requests by method and status", requests.clone());
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            metered.register(name, help, counter.clone());
            counter
        };
        let upload_bytes = counter("upload_bytes", "Bytes of blobs and manifests taken");
        let download_bytes = counter("download_bytes", "Bytes of blobs and manifests given");
        let commits = counter("commits", "Blobs committed");
        let duplicate_commits = counter("duplicate_commits", "Blobs committed to bytes that were there already");
        let collected_objects = counter("collected_objects", "Objects removed by the collection");
        let sessions = Gauge::default();
        metered.register("sessions", "Uploads in progress", sessions.clone());
        Self {
            metered,
            requests,
            upload_bytes,
            download_bytes,
            commits,
            duplicate_commits,
            collected_objects,
            sessions,
        }
    }
}

impl Metrics {
    pub fn render(&self) -> String {
        lifecycle::metrics::render(&self.metered)
    }
}
