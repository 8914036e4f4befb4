//! What an app's labels say of TCP: connections that come to it beside requests, or instead of them.

use super::{BadLabel, balance};
use lifecycle::ErrorChain;
use model::App;
use routing::{Route, RouteSpec, SendProxy, TcpError, TcpRule, TcpSpec};

/// `PORT[,sni=NAME]…`: the edges pass connections to this port on to the app's first one (docs/tcp.md).
const LABEL: &str = "roadstead.tcp";
/// `v1` or `v2`: the app is told of its clients by PROXY headers.
const SEND_PROXY_LABEL: &str = "roadstead.send-proxy";

/// Whether edges can do what the labels ask for.
pub(super) fn check(app: &App) -> Result<(), BadLabel> {
    if let Some(text) = app.labels.get(LABEL) {
        let wrong = |message| BadLabel { label: LABEL, message };
        let spec =
            RouteSpec { tcp: Some(read(text).map_err(wrong)?), balance: balance::of(app), ..RouteSpec::default() };
        Route::compile(spec).map_err(|error| wrong(ErrorChain(&error).to_string()))?;
    }
    match app.labels.get(SEND_PROXY_LABEL) {
        Some(text) if version(text).is_none() => {
            Err(BadLabel { label: SEND_PROXY_LABEL, message: format!("{text:?}: expected v1 or v2") })
        }
        _ => Ok(()),
    }
}

/// As a route document has it; a label of an earlier version that makes no sense says nothing.
pub(super) fn of(app: &App) -> Option<TcpSpec> {
    read(app.labels.get(LABEL)?).ok()
}

pub(super) fn send_proxy(app: &App) -> Option<SendProxy> {
    version(app.labels.get(SEND_PROXY_LABEL)?)
}

fn version(text: &str) -> Option<SendProxy> {
    match text.trim() {
        "v1" => Some(SendProxy::V1),
        "v2" => Some(SendProxy::V2),
        _ => None,
    }
}

fn read(text: &str) -> Result<TcpSpec, String> {
    let mut parts = text.split(',').map(str::trim);
    let port = parts.next().unwrap_or_default();
    let name = |part: &str| part.strip_prefix("sni=").map(str::to_owned);
    let sni: Option<Vec<String>> = parts.map(name).collect();
    let sni = sni.ok_or_else(|| format!("{text:?}: expected PORT[,sni=NAME]…"))?;
    let spec = TcpSpec { listen: format!(":{port}"), sni };
    let checked = TcpRule::compile(spec.clone());
    checked.map(|_| spec).map_err(|error: TcpError| ErrorChain(&error).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::Routes;
    use crate::test_world;
    use scheduler::World;

    fn labelled(labels: &[(&str, &str)]) -> App {
        let mut app = test_world::app("a", 1);
        app.labels.extend(labels.iter().map(|(label, text)| ((*label).to_owned(), (*text).to_owned())));
        app
    }

    #[test]
    fn a_tcp_label_becomes_a_route_of_connections_instead_of_requests() {
        for (more, expected) in [(None, vec!["app.a~tcp"]), (Some("x.example"), vec!["app.a", "app.a~tcp"])] {
            let mut app = labelled(&[(LABEL, "5432, sni=db.example,sni=*.x"), (SEND_PROXY_LABEL, "v2")]);
            app.labels.extend(more.map(|host| ("roadstead.host".to_owned(), host.to_owned())));
            let mut world = World::default();
            test_world::insert(&mut world, &app, &[31000]);
            let changes = Routes::default().plan(&world, "localhost", &[]);
            let ids: Vec<&str> = changes.iter().map(|change| change.id.as_str()).collect();
            assert_eq!(ids, expected);
            let document = changes.last().unwrap().document.as_ref().unwrap();
            let tcp = document.tcp.as_ref().unwrap();
            assert_eq!(
                (tcp.listen.as_str(), tcp.sni.as_slice()),
                (":5432", &["db.example".to_owned(), "*.x".to_owned()][..])
            );
            assert_eq!((document.rule.as_str(), document.send_proxy), ("", Some(SendProxy::V2)));
        }
    }

    #[test]
    fn labels_of_tcp_that_make_no_sense_are_refused_by_name() {
        for text in ["", "http", "0", "5432,db.example", "5432,sni=", "1.2.3.4:5432"] {
            assert_eq!(check(&labelled(&[(LABEL, text)])).unwrap_err().label, LABEL, "{text}");
        }
        let sticky = labelled(&[(LABEL, "5432"), ("roadstead.balance", r#"{"sticky":{}}"#)]);
        assert!(check(&sticky).unwrap_err().message.contains("balance.sticky"));
        assert_eq!(check(&labelled(&[(SEND_PROXY_LABEL, "v3")])).unwrap_err().label, SEND_PROXY_LABEL);
        assert_eq!(check(&labelled(&[(LABEL, "5432"), (SEND_PROXY_LABEL, "v1")])), Ok(()));
    }
}
