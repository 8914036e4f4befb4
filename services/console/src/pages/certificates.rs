//! Certificates for apps' names: until when each is good, who it is from, and what the names without one wait for.

use super::parts::time;
use crate::controller::{Certificate, Certificates, CertifiedName};
use jiff::Timestamp;
use maud::{Markup, html};

/// `None` where the controller does not tell.
pub fn render(known: Option<&Certificates>, now: Timestamp) -> Markup {
    html! {
        h1 { "Certificates" }
        @match known {
            None => p.empty { "This controller does not tell its certificates." },
            Some(known) if known.certificates.is_empty() && known.names.is_empty() => {
                p.empty { "No app asks for a certificate, and none was given." }
            },
            Some(known) => div.wide { (table(known, now)) },
        }
    }
}

fn table(known: &Certificates, now: Timestamp) -> Markup {
    let without = known.names.iter().filter(|name| name.certificate.is_none());
    html! {
        table.cards {
            thead {
                tr {
                    th scope="col" { "Names" }
                    th scope="col" { "Standing" }
                    th scope="col" { "From" }
                    th scope="col" { "Until" }
                }
            }
            tbody {
                @for name in without { (waiting(name)) }
                @for certificate in &known.certificates { (row(certificate, known, now)) }
            }
        }
    }
}

fn row(certificate: &Certificate, known: &Certificates, now: Timestamp) -> Markup {
    let notes = known.names.iter().filter(|name| name.certificate.as_ref() == Some(&certificate.id));
    let has_ended = certificate.not_after.parse::<Timestamp>().is_ok_and(|end| end <= now);
    html! {
        tr {
            th scope="row" {
                @for name in &certificate.names { div { (name) } }
                @if certificate.default { div.endpoints { span { "for clients that name no host" } } }
            }
            td data-label="Standing" {
                @if has_ended { span.node.lost { "Ended" } } @else { span.node.connected { "Valid" } }
                @for note in notes { (reason(note)) }
            }
            td data-label="From" { (issuer(&certificate.issuer)) }
            td data-label="Until" {
                (time(&certificate.not_after))
                @if let Some(renew_at) = &certificate.renew_at { span.reason { "renewed from " (time(renew_at)) " on" } }
            }
        }
    }
}

/// A name that has none.
fn waiting(name: &CertifiedName) -> Markup {
    let (class, word) = match name.state.as_str() {
        "failed" => ("lost", "Failed"),
        "asked" => ("draining", "Asked for"),
        _ => ("silent", "Waiting"),
    };
    html! {
        tr {
            th scope="row" { (name.name) }
            td data-label="Standing" { span class={ "node " (class) } { (word) } (reason(name)) }
            td data-label="From" { "–" }
            td data-label="Until" { "–" }
        }
    }
}

fn reason(name: &CertifiedName) -> Markup {
    let next = name.next_at.as_deref().filter(|_| name.failures > 0);
    html! {
        @if !name.message.is_empty() {
            span.reason { (name.message) @if let Some(next) = next { "; next try at " (time(next)) } }
        }
    }
}

fn issuer(issuer: &str) -> &str {
    match issuer {
        "acme" => "the certificate authority",
        "given" => "you",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn page(known: Value) -> String {
        let known: Certificates = serde_json::from_value(known).unwrap();
        render(Some(&known), "2026-02-01T00:00:00Z".parse().unwrap()).into_string()
    }

    #[test]
    fn each_certificate_says_how_long_it_is_good_and_each_name_without_one_why() {
        let certificate = |id: &str, name: &str, issuer: &str, until: &str| {
            json!({ "id": id, "names": [name, format!("www.{name}")], "issuer": issuer, "notAfter": until,
                    "default": false, "renewAt": "2026-03-01T00:00:00.000Z" })
        };
        let shown = page(json!({
            "certificates": [certificate("acme.a", "a.example", "acme", "2026-04-01T00:00:00.000Z"),
                             certificate("given.b", "b.example", "given", "2026-01-01T00:00:00.000Z")],
            "names": [
                { "name": "a.example", "state": "valid", "message": "it could not be renewed: <b>no</b>", "failures": 1,
                  "nextAt": "2026-02-01T00:01:00.000Z", "certificate": "acme.a" },
                { "name": "c.example", "state": "failed", "message": "the DNS of c.example leads nowhere", "failures": 2,
                  "nextAt": "2026-02-01T00:02:00.000Z", "certificate": null },
            ],
        }));
        for text in [
            ">www.a.example<",
            "Valid",
            "2026-04-01 00:00:00",
            "renewed from",
            "could not be renewed: &lt;b&gt;no",
            "Ended",
            ">you<",
            ">c.example<",
            "Failed",
            "the DNS of c.example leads nowhere; next try at",
            "2026-02-01 00:02:00",
        ] {
            assert!(shown.contains(text), "the page lacks {text}: {shown}");
        }
        assert!(page(json!({})).contains("No app asks"));
        assert!(render(None, Timestamp::UNIX_EPOCH).into_string().contains("does not tell"));
    }
}
