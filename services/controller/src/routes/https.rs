//! What an app's label says of HTTPS: whether its names need a certificate, and that plain requests are sent on.

use super::{BadLabel, rules};
use lifecycle::ErrorChain;
use model::App;
use routing::Expression;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// `acme`, `given` or `off` (docs/https.md).
const LABEL: &str = "roadstead.https";
/// Of a name (RFC 1035, section 2.3.4), and of one label in it.
const NAME_CHARS_MAX: usize = 253;
const LABEL_CHARS_MAX: usize = 63;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Https {
    /// The certificate is asked for.
    Acme,
    /// The certificate is put there by a person.
    Given,
    Off,
}

/// Whether the label can be followed.
pub(super) fn check(app: &App, domain: &str) -> Result<(), BadLabel> {
    let wrong = |message| BadLabel { label: LABEL, message };
    if read(app).map_err(wrong)? == Https::Acme {
        names(app, domain).map_err(wrong)?;
    }
    Ok(())
}

/// The names a certificate is to be asked for. A label that makes no sense, which an app of an earlier version may have, asks
/// for nothing.
pub(super) fn certificate_names(app: &App, domain: &str) -> BTreeSet<String> {
    match read(app) {
        Ok(Https::Acme) => names(app, domain).unwrap_or_default(),
        _ => BTreeSet::new(),
    }
}

/// What sends plain requests on, before anything else is done to them. `port`: where browsers reach HTTPS.
pub(super) fn redirect(app: &App, port: Option<u16>) -> Option<Value> {
    if matches!(read(app), Ok(Https::Off) | Err(_)) {
        return None;
    }
    let mut settings = json!({ "Scheme": "https", "Status": 308 });
    if let Some(port) = port {
        settings["Port"] = port.into();
    }
    // Outermost.
    Some(json!({ "Id": LABEL, "Type": "redirect", "Priority": i32::MIN, "Middleware": settings }))
}

fn read(app: &App) -> Result<Https, String> {
    match app.labels.get(LABEL).map(String::as_str) {
        None | Some("off") => Ok(Https::Off),
        Some("acme") => Ok(Https::Acme),
        Some("given") => Ok(Https::Given),
        Some(other) => Err(format!("expected acme, given or off, not {other:?}")),
    }
}

fn names(app: &App, domain: &str) -> Result<BTreeSet<String>, String> {
    if let Some(hosts) = app.labels.get("roadstead.host") {
        hosts.split(',').try_for_each(|host| certifiable(&host.trim().to_ascii_lowercase()))?;
    }
    let mut names = BTreeSet::new();
    for rule in rules::rules(app, domain) {
        let expression = Expression::parse(&rule.expression).map_err(|error| ErrorChain(&error).to_string())?;
        let hosts = expression.exact_hosts();
        names.extend(hosts.ok_or_else(|| format!("the rule {expression} names no host to ask a certificate for"))?);
    }
    names.iter().try_for_each(|name| certifiable(name))?;
    Ok(names)
}

/// Whether an authority could give a certificate for the name by the challenges there are.
fn certifiable(name: &str) -> Result<(), String> {
    let refuse = |why: &str| Err(format!("there is no certificate for {name:?}: {why}"));
    if name.parse::<IpAddr>().is_ok() || name.starts_with('[') {
        return refuse("it is an address");
    }
    if name.contains('*') {
        return refuse(
            "a wildcard takes a challenge by DNS, which is not there; name each host, or give a certificate",
        );
    }
    let is_label = |label: &str| {
        let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (1..=LABEL_CHARS_MAX).contains(&label.len())
            && label.chars().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > NAME_CHARS_MAX || !name.split('.').all(is_label) {
        return refuse("it is no host name");
    }
    let top = name.rsplit('.').next().unwrap_or_default();
    if top == "localhost" || !name.contains('.') || top.chars().all(|c| c.is_ascii_digit()) {
        return refuse("nobody else can reach it; set roadstead.host to a name of yours");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_world;

    fn labelled(labels: &[(&str, &str)]) -> App {
        let mut app = test_world::app("a", 1);
        app.labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        app
    }

    fn asked(labels: &[(&str, &str)], domain: &str) -> Vec<String> {
        certificate_names(&labelled(labels), domain).into_iter().collect()
    }

    #[test]
    fn a_certificate_is_asked_for_the_names_of_the_rules() {
        assert_eq!(
            asked(&[(LABEL, "acme"), ("roadstead.host", "Shop.example, www.shop.example")], "localhost"),
            ["shop.example", "www.shop.example"]
        );
        assert_eq!(asked(&[(LABEL, "acme")], "apps.example"), ["a.apps.example"]);
        let rule = "Host(`x.example`) && Path(`/y`)";
        assert_eq!(asked(&[(LABEL, "acme"), ("roadstead.rule", rule)], "localhost"), ["x.example"]);
        for other in ["given", "off", "maybe"] {
            assert!(asked(&[(LABEL, other), ("roadstead.host", "shop.example")], "localhost").is_empty());
        }
        assert!(asked(&[("roadstead.host", "shop.example")], "localhost").is_empty(), "nothing without the label");
    }

    #[test]
    fn what_no_authority_certifies_is_refused_by_the_labels_name() {
        let host = |name: &str| check(&labelled(&[(LABEL, "acme"), ("roadstead.host", name)]), "localhost");
        for (name, why) in [
            ("10.0.0.1", "an address"),
            ("*.shop.example", "wildcard"),
            ("a.localhost", "nobody else"),
            ("shop", "nobody else"),
            ("a_b.example", "no host name"),
            ("-a.example", "no host name"),
            ("shop.example,10.0.0.1", "an address"),
        ] {
            let BadLabel { label, message } = host(name).unwrap_err();
            assert!(label == LABEL && message.contains(why), "{name}: {message}");
        }
        assert_eq!(host("shop.example"), Ok(()));
        assert!(check(&labelled(&[(LABEL, "acme")]), "localhost").is_err(), "the name below the domain is nobody's");
        assert!(check(&labelled(&[(LABEL, "yes")]), "localhost").unwrap_err().message.contains("expected acme"));
        let anything = [(LABEL, "acme"), ("roadstead.rule", "HostRegexp(`.*`)")];
        assert!(check(&labelled(&anything), "localhost").unwrap_err().message.contains("names no host"));
        assert_eq!(check(&labelled(&[(LABEL, "given")]), "localhost"), Ok(()));
    }

    #[test]
    fn plain_requests_are_sent_on_before_all_else() {
        assert_eq!(redirect(&labelled(&[]), None), None);
        assert_eq!(redirect(&labelled(&[(LABEL, "off")]), None), None);
        for kind in ["acme", "given"] {
            let middleware = redirect(&labelled(&[(LABEL, kind)]), Some(8443)).unwrap();
            let chain = middleware::Chain::read(&[middleware], None).unwrap();
            assert_eq!(chain.middlewares()[0].priority(), i64::from(i32::MIN));
        }
    }
}
