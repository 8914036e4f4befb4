//! vulcand's `top`: frontends and servers with how their requests fared, the worst first.

use crate::failure::Failure;
use crate::objects::{Objects, Sort};
use routing::ServerUrl;
use serde_json::{Value, json};
use vulcand::Kind;
use vulcand::shape::Object;
use vulcand::statistics::RoundTripStats;

pub(crate) struct Query {
    /// 0: all.
    limit: usize,
    backend: Option<String>,
}

impl Query {
    pub fn read(query: Option<&str>) -> Result<Self, Failure> {
        let mut read = Self { limit: 0, backend: None };
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*name {
                "limit" if value.is_empty() => {}
                "limit" => {
                    let wrong = |_| Failure::field("limit", format!("{value:?} is no number"));
                    read.limit = value.parse().map_err(wrong)?;
                }
                "backendId" if !value.is_empty() => read.backend = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(read)
    }
}

impl Objects {
    pub async fn top_frontends(&self, query: &Query) -> Result<Value, Failure> {
        let statistics = self.statistics.as_ref().ok_or(Failure::NoStatistics)?.read().await.frontends;
        let frontends = self.list(Sort::Frontend, "").await?.into_iter().filter(|(_, frontend)| {
            query.backend.as_ref().is_none_or(|backend| frontend.get("BackendId") == Some(&json!(backend)))
        });
        let ranked = frontends.map(|(kind, frontend)| (statistics.get(kind.id()).cloned(), frontend));
        Ok(json!({ "Frontends": ranking(ranked.collect(), query.limit) }))
    }

    pub async fn top_servers(&self, query: &Query) -> Result<Value, Failure> {
        let statistics = self.statistics.as_ref().ok_or(Failure::NoStatistics)?.read().await.servers;
        let servers = self.all_servers().await?.into_iter().filter(|(kind, _)| match kind {
            Kind::Server { backend, .. } => query.backend.as_ref().is_none_or(|asked| asked == backend),
            _ => false,
        });
        let ranked = servers.map(|(_, server)| {
            let url = server.get("URL").and_then(Value::as_str).unwrap_or_default();
            let url = ServerUrl::parse(url).ok();
            (url.and_then(|url| statistics.get(url.as_str()).cloned()), server)
        });
        Ok(json!({ "Servers": ranking(ranked.collect(), query.limit) }))
    }
}

/// What had no request yet comes last, in the order of ids.
fn ranking(mut objects: Vec<(Option<RoundTripStats>, Object)>, limit: usize) -> Vec<Object> {
    objects.sort_by(|(one, _), (other, _)| match (one, other) {
        (Some(one), Some(other)) => one.worse_first(other),
        (one, other) => one.is_none().cmp(&other.is_none()),
    });
    let limit = if limit == 0 { objects.len() } else { limit };
    let with_stats = |(stats, mut object): (Option<RoundTripStats>, Object)| {
        // `vctl top` dies of an object without.
        object.insert("Stats".to_owned(), json!(stats.unwrap_or_else(RoundTripStats::idle)));
        object
    };
    objects.into_iter().take(limit).map(with_stats).collect()
}
