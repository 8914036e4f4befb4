//! Paths into routes. A path is decoded and split; empty segments do not count.

use percent_encoding::percent_decode_str;

/// What a path names; ids are as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Apps,
    /// `/v2/apps/{group}/*`
    AppsBelow(String),
    App(String),
    Restart(String),
    Versions(String),
    Version(String, String),
    AppTasks(String),
    AppTask(String, String),
    Tasks,
    TasksDelete,
    Deployments,
    Deployment(String),
    Queue,
    QueueDelay(String),
    Info,
    Leader,
    Events,
    Ping,
    Metrics,
    Nodes,
    Node(String),
    NodeDrain(String),
    NodeRestore(String),
    Cluster,
    Join,
    JoinTokens,
    JoinToken(String),
    Certificates,
    Certificate(String),
    CertificateRenewal(String),
    AppDetails(String),
    Explain(String),
    Logs(String),
    RoutesHistory,
    RoutesRevision(String),
    RoutesRollback,
    Documents,
    Document(String),
}

impl Route {
    /// The methods it answers to (HEAD counts as GET).
    pub fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Apps => &["GET", "POST", "PUT", "PATCH"],
            Self::App(_) => &["GET", "PUT", "PATCH", "DELETE"],
            Self::Restart(_) | Self::TasksDelete | Self::NodeDrain(_) | Self::NodeRestore(_) => &["POST"],
            Self::Join | Self::CertificateRenewal(_) | Self::RoutesRollback => &["POST"],
            Self::Document(_) => &["PUT", "DELETE"],
            Self::Certificates => &["GET", "POST", "PUT"],
            Self::Certificate(_) => &["GET", "DELETE"],
            Self::JoinTokens => &["GET", "POST"],
            Self::AppTasks(_) | Self::Leader => &["GET", "DELETE"],
            Self::AppTask(..) | Self::Deployment(_) | Self::QueueDelay(_) | Self::JoinToken(_) | Self::Node(_) => {
                &["DELETE"]
            }
            _ => &["GET"],
        }
    }
}

/// The route of a raw path; `None` when nothing is there.
pub fn route(path: &str) -> Option<Route> {
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    let segments: Vec<&str> = decoded.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        ["ping"] => Some(Route::Ping),
        ["metrics"] | ["metrics", "prometheus"] => Some(Route::Metrics),
        ["v2", "apps", rest @ ..] => app_route(rest),
        ["v2", "tasks"] => Some(Route::Tasks),
        ["v2", "tasks", "delete"] => Some(Route::TasksDelete),
        ["v2", "deployments"] => Some(Route::Deployments),
        ["v2", "deployments", id] => Some(Route::Deployment((*id).to_owned())),
        ["v2", "queue"] => Some(Route::Queue),
        ["v2", "queue", id @ .., "delay"] if !id.is_empty() => Some(Route::QueueDelay(joined(id))),
        ["v2", "info"] => Some(Route::Info),
        ["v2", "leader"] => Some(Route::Leader),
        ["v2", "events"] => Some(Route::Events),
        ["v1", "nodes"] => Some(Route::Nodes),
        ["v1", "nodes", node] => Some(Route::Node((*node).to_owned())),
        ["v1", "nodes", node, "drain"] => Some(Route::NodeDrain((*node).to_owned())),
        ["v1", "nodes", node, "restore"] => Some(Route::NodeRestore((*node).to_owned())),
        ["v1", "routes", "history"] => Some(Route::RoutesHistory),
        ["v1", "routes", "history", revision] => Some(Route::RoutesRevision((*revision).to_owned())),
        ["v1", "routes", "rollback"] => Some(Route::RoutesRollback),
        ["v1", "routes", "documents"] => Some(Route::Documents),
        ["v1", "routes", "documents", id] => Some(Route::Document((*id).to_owned())),
        ["v1", "cluster"] => Some(Route::Cluster),
        ["v1", "join"] => Some(Route::Join),
        ["v1", "join-tokens"] => Some(Route::JoinTokens),
        ["v1", "join-tokens", id] => Some(Route::JoinToken((*id).to_owned())),
        ["v1", "certificates"] => Some(Route::Certificates),
        ["v1", "certificates", id] => Some(Route::Certificate((*id).to_owned())),
        ["v1", "certificates", name, "renew"] => Some(Route::CertificateRenewal((*name).to_owned())),
        ["v1", "tasks", id, "logs"] | ["v1", "apps", _, .., "tasks", id, "logs"] => Some(Route::Logs((*id).to_owned())),
        ["v1", "apps", id @ .., "explain"] if !id.is_empty() => Some(Route::Explain(joined(id))),
        ["v1", "apps", id @ ..] if !id.is_empty() => Some(Route::AppDetails(joined(id))),
        _ => None,
    }
}

/// Reserved last segments before ids.
fn app_route(segments: &[&str]) -> Option<Route> {
    Some(match segments {
        [] => Route::Apps,
        [group @ .., "*"] => Route::AppsBelow(joined(group)),
        [id @ .., "restart"] if !id.is_empty() => Route::Restart(joined(id)),
        [id @ .., "versions"] if !id.is_empty() => Route::Versions(joined(id)),
        [id @ .., "versions", version] if !id.is_empty() => Route::Version(joined(id), (*version).to_owned()),
        [id @ .., "tasks"] if !id.is_empty() => Route::AppTasks(joined(id)),
        [id @ .., "tasks", task] if !id.is_empty() => Route::AppTask(joined(id), (*task).to_owned()),
        id => Route::App(joined(id)),
    })
}

fn joined(segments: &[&str]) -> String {
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_do_not_count_and_reserved_words_go_first() {
        let app = |id: &str| Some(Route::App(id.into()));
        for (path, expected) in [
            ("/v2/apps", Some(Route::Apps)),
            ("/v2/apps/", Some(Route::Apps)),
            ("//v2///apps//", Some(Route::Apps)),
            ("/v2/apps/s3pics", app("/s3pics")),
            ("/v2/apps//s3pics", app("/s3pics")),
            ("/v2/apps//s3pics/", app("/s3pics")),
            ("/v2/apps/%2Fs3pics", app("/s3pics")),
            ("/v2/apps/a/b/c", app("/a/b/c")),
            ("/v2/apps/tasks", app("/tasks")),
            ("/v2/apps//a/b//tasks/", Some(Route::AppTasks("/a/b".into()))),
            ("/v2/apps/a/tasks/a.1", Some(Route::AppTask("/a".into(), "a.1".into()))),
            ("/v2/apps/a/versions/2015", Some(Route::Version("/a".into(), "2015".into()))),
            ("/v2/apps/a/restart", Some(Route::Restart("/a".into()))),
            ("/v2/apps/*", Some(Route::AppsBelow("/".into()))),
            ("/v2/apps/a/*", Some(Route::AppsBelow("/a".into()))),
            ("/v2/queue//a/b/delay", Some(Route::QueueDelay("/a/b".into()))),
            ("/v1/apps/a/b/explain", Some(Route::Explain("/a/b".into()))),
            ("/v1/tasks/a.1/logs", Some(Route::Logs("a.1".into()))),
            ("/v1/apps/a/b/tasks/a_b.1/logs", Some(Route::Logs("a_b.1".into()))),
            ("/v1/nodes/a/drain", Some(Route::NodeDrain("a".into()))),
            ("/v1/nodes/a/", Some(Route::Node("a".into()))),
            ("/v1//join", Some(Route::Join)),
            ("/v1/certificates/a.example", Some(Route::Certificate("a.example".into()))),
            ("/v1/certificates/a.example/renew", Some(Route::CertificateRenewal("a.example".into()))),
            ("/v1/join-tokens/x", Some(Route::JoinToken("x".into()))),
            ("/v2", None),
            ("/", None),
            ("/v2/apps/%ff", None),
        ] {
            assert_eq!(route(path), expected, "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_path_panics(path in ".{0,64}") {
            let _route = route(&path);
        }
    }
}
