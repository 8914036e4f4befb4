//! What an authority says, in the words of whoever has to do something about it.

use instant_acme::Problem;

/// RFC 8555, section 6.7.
const TYPES_PREFIX: &str = "urn:ietf:params:acme:error:";

/// Why there is no certificate for `name`.
pub(super) fn told(name: &str, problem: &Problem) -> String {
    let detail = detail(problem);
    let kind = problem.r#type.as_deref().and_then(|kind| kind.strip_prefix(TYPES_PREFIX)).unwrap_or_default();
    match kind {
        "dns" => format!("the DNS of {name} leads nowhere: {detail}"),
        "connection" => format!("the authority cannot reach {name}: {detail}"),
        "unauthorized" | "incorrectResponse" => {
            format!("the authority reached something else than this platform at {name}: {detail}")
        }
        "tls" => format!("the authority's handshake with {name} failed: {detail}"),
        "caa" => format!("the CAA records of {name} forbid it: {detail}"),
        "rateLimited" => format!("the authority's limit is reached: {detail}"),
        "rejectedIdentifier" => format!("the authority gives no certificate for {name}: {detail}"),
        "externalAccountRequired" => format!("the authority wants an external account (--acme-eab-kid): {detail}"),
        "" => format!("the authority refused: {detail}"),
        kind => format!("the authority refused ({kind}): {detail}"),
    }
}

fn detail(problem: &Problem) -> String {
    let of = |detail: &Option<String>| detail.clone().unwrap_or_default();
    let parts = std::iter::once(of(&problem.detail)).chain(problem.subproblems.iter().map(|sub| of(&sub.detail)));
    let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "it did not say why".to_owned() } else { parts.join("; ") }
}

/// Whether another order would be refused just the same, for any name.
pub(super) fn is_limit(problem: &Problem) -> bool {
    problem.r#type.as_deref().is_some_and(|kind| kind.strip_prefix(TYPES_PREFIX) == Some("rateLimited"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str, detail: Option<&str>) -> Problem {
        let r#type = Some(format!("{TYPES_PREFIX}{kind}"));
        Problem { r#type, detail: detail.map(str::to_owned), status: None, subproblems: Vec::new() }
    }

    #[test]
    fn who_reads_it_knows_where_to_look() {
        let told = |kind, detail| told("shop.example", &problem(kind, detail));
        assert_eq!(
            told("dns", Some("NXDOMAIN looking up A")),
            "the DNS of shop.example leads nowhere: NXDOMAIN looking up A"
        );
        assert!(told("unauthorized", Some("1.2.3.4: 404")).ends_with("at shop.example: 1.2.3.4: 404"));
        assert_eq!(told("new", None), "the authority refused (new): it did not say why");
        assert!(is_limit(&problem("rateLimited", None)) && !is_limit(&problem("dns", None)));
    }
}
