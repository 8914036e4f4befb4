use super::*;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));

fn head<'a>(method: &'a str, host: &'a str, path: &'a str, headers: &'a dyn Headers) -> RequestHead<'a> {
    RequestHead { method, host, path, query: None, headers, client: CLIENT }
}

fn matches(expression: &str, method: &str, host: &str, path: &str) -> bool {
    Expression::parse(expression).unwrap().matches(&head(method, host, path, &[]))
}

#[test]
fn all_eight_matchers() {
    assert!(matches(r#"Host("a.com")"#, "GET", "A.com:8181", "/"));
    assert!(!matches(r#"Host("a.com")"#, "GET", "b.com", "/"));
    assert!(matches(r#"Host("[::1]")"#, "GET", "[::1]:8181", "/"));
    assert!(matches("HostRegexp(`^A[0-9]\\.com$`)", "GET", "a1.com", "/"));
    assert!(matches(r#"Path("/x")"#, "GET", "", "/x"));
    assert!(matches("PathRegexp(`/x`)", "GET", "", "/before/x/after"), "regexps are not anchored");
    assert!(matches(r#"Method("POST")"#, "POST", "", "/"));
    assert!(!matches(r#"Method("POST")"#, "post", "", "/"));
    assert!(matches(r#"MethodRegexp("GET|HEAD")"#, "HEAD", "", "/"));
    let headers = [("X-Kind", "image/png"), ("X-Kind", "text/plain")];
    for (expression, expected) in [
        (r#"Header("x-kind", "image/<name>")"#, true),
        (r#"Header("X-KIND", "text/plain")"#, false),
        (r#"HeaderRegexp("X-Kind", "png$")"#, true),
        (r#"Header("absent", "<any>")"#, false),
        (r#"!Header("absent", "<any>")"#, true),
    ] {
        let found = Expression::parse(expression).unwrap().matches(&head("GET", "", "/", &headers));
        assert_eq!(found, expected, "{expression}");
    }
}

#[test]
fn path_prefixes() {
    for (prefix, path, expected) in [
        ("/api", "/api", true),
        ("/api", "/api/v1", true),
        ("/api", "/apiary", true),
        ("/api/", "/api", false),
        ("/", "/anything", true),
        ("/<tenant>/files", "/acme/files/1", true),
        ("/<tenant>/files", "/acme/other", false),
        ("/<tenant>", "/acme/other", true),
        ("/a/<path:rest>", "/a/b/c", true),
    ] {
        assert_eq!(matches(&format!("PathPrefix(`{prefix}`)"), "GET", "", path), expected, "{prefix} {path}");
    }
}

#[test]
fn query_parameters() {
    let queries = Some("v=2&name=a%20b&flag&v=3&path=x/y");
    for (expression, query, expected) in [
        ("Query(`v`, `2`)", queries, true),
        ("Query(`v`, `3`)", queries, false),
        ("Query(`V`, `2`)", queries, false),
        ("Query(`v`, `<int:n>`)", queries, true),
        ("Query(`name`, `a%20b`)", queries, true),
        ("Query(`flag`, ``)", queries, true),
        ("Query(`path`, `<x>`)", queries, false),
        ("Query(`path`, `<path:x>`)", queries, true),
        ("QueryRegexp(`name`, `^a`)", queries, true),
        ("Query(`v`, `<path:any>`)", None, false),
        ("!Query(`v`, `<path:any>`)", None, true),
    ] {
        let head = RequestHead { query, ..head("GET", "", "/", &[]) };
        assert_eq!(Expression::parse(expression).unwrap().matches(&head), expected, "{expression}");
    }
}

#[test]
fn clients_by_address() {
    for (expression, client, expected) in [
        ("ClientIP(`10.0.0.0/8`)", "10.1.2.3", true),
        ("ClientIP(`10.0.0.0/8`)", "::ffff:10.1.2.3", true),
        ("ClientIP(`192.168.0.0/16`, `::1`)", "::1", true),
        ("ClientIP(`192.168.0.0/16`, `::1`)", "10.1.2.3", false),
        ("!ClientIP(`192.168.0.0/16`, `::1`)", "10.1.2.3", true),
    ] {
        let head = RequestHead { client: client.parse().unwrap(), ..head("GET", "", "/", &[]) };
        assert_eq!(Expression::parse(expression).unwrap().matches(&head), expected, "{expression} {client}");
    }
}

#[test]
fn conjunctions_parentheses_and_spaces() {
    let text = "  ( Host(\"a\") && (Path(`/x`))\n) &&\tMethod(\"GET\") ";
    assert!(matches(text, "GET", "a", "/x"));
    assert!(!matches(text, "PUT", "a", "/x"));
}

/// Go's precedence: `!`, then `&&`, then `||`.
#[test]
fn operators_and_their_precedence() {
    for (text, host, path, expected) in [
        ("Host(`a`) || Host(`b`)", "b", "/", true),
        ("Host(`a`) || Host(`b`)", "c", "/", false),
        ("Host(`a`) || Host(`b`) && Path(`/x`)", "a", "/", true),
        ("Host(`a`) || Host(`b`) && Path(`/x`)", "b", "/", false),
        ("(Host(`a`) || Host(`b`)) && Path(`/x`)", "a", "/", false),
        ("(Host(`a`) || Host(`b`)) && Path(`/x`)", "b", "/x", true),
        ("!Host(`a`) && Path(`/x`)", "b", "/x", true),
        ("!(Host(`a`) && Path(`/x`))", "a", "/", true),
        ("!(Host(`a`) && Path(`/x`))", "a", "/x", false),
        ("!(Host(`a`) || Path(`/x`))", "a", "/", false),
        ("!(Host(`a`) || Path(`/x`))", "b", "/", true),
        ("!!Host(`a`)", "a", "/", true),
    ] {
        assert_eq!(matches(text, "GET", host, path), expected, "{text} {host}{path}");
    }
}

#[test]
fn an_alternative_reads_like_a_route_of_its_own() {
    let expression = Expression::parse("Host(`a`) && !(Path(`/x`) || Method(`PUT`)) || Path(`/y`)").unwrap();
    let texts: Vec<String> = expression.alternatives().iter().map(|alternative| alternative.to_string()).collect();
    assert_eq!(texts, [r#"Host("a") && !Path("/x") && !Method("PUT")"#, r#"Path("/y")"#]);
}

/// Rust's own escapes are not the language's.
#[test]
fn what_an_alternative_shows_is_read_again() {
    let texts = [
        r#"Host("\u0014\x00\"\\\t\n\r\u0085é'")"#,
        "Path(`/\0\u{85}\\`) && Header(`A`, `\n`)",
        "ClientIP(`::1`, `10.0.0.0/8`)",
    ];
    for text in texts {
        let shown = Expression::parse(text).unwrap().alternatives()[0].to_string();
        let again = Expression::parse(&shown).unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_eq!(again.alternatives()[0].to_string(), shown);
    }
}

#[test]
fn the_path_is_matched_raw() {
    assert!(matches(r#"Path("/a%2Fb")"#, "GET", "", "/a%2Fb"));
    assert!(!matches(r#"Path("/a/b")"#, "GET", "", "/a%2Fb"));
}

#[test]
fn errors_name_the_column() {
    for (text, column, part) in [
        ("", 1, "expected a matcher"),
        (r#"Host("a") || "#, 14, "found the end"),
        (r#"Host("a") | Path("/")"#, 11, "single `|`"),
        (r#"!"#, 2, "found the end"),
        (r#"Host("a") !Path("/")"#, 11, "expected `&&`, `||`"),
        (r#"Host("a") && "#, 14, "found the end"),
        (r#"Host("a"#, 6, "no closing quote"),
        (r#"Host(`a"#, 6, "backtick"),
        (r#"Hots("a")"#, 1, "unknown matcher `Hots`"),
        (r#"HostPrefix("a")"#, 1, "unknown matcher `HostPrefix`"),
        (r#"Regexp("a")"#, 1, "unknown matcher `Regexp`"),
        (r#"TrieRoute("GET", "/p")"#, 1, "older than vulcand 0.8"),
        (r#"Host("a", "b")"#, 9, "expected `)`, found `,`"),
        (r#"Header("a b", "c")"#, 8, "no header name"),
        (r#"Query("a=b", "c")"#, 7, "no parameter's name"),
        (r#"ClientIP("10.0.0.0/8", "10.0.0.1/8")"#, 24, "write 10.0.0.0/8"),
        ("ClientIP()", 10, "expected a string"),
        (r#"Path("")"#, 6, "never empty"),
        (r#"PathPrefix("")"#, 12, "never empty"),
        (r#"Path("/<a")"#, 8, "no closing `>`"),
        (r#"Path("/\x41\t<a")"#, 14, "no closing `>`"),
        ("Path(`/é<a`)", 9, "no closing `>`"),
        (r#"Path("/\d")"#, 8, "unknown escape"),
        (r#"PathRegexp("(")"#, 12, "regexp: unclosed group"),
        (r#"Host("a") Path("/")"#, 11, "expected `&&`"),
        (r#"Host("a") & Path("/")"#, 11, "single `&`"),
        ("Host(3)", 6, "expected a string"),
        ("(Host(\"a\")", 11, "expected `&&`"),
    ] {
        let error = Expression::parse(text).unwrap_err();
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
    }
}

#[test]
fn everything_is_bounded() {
    let refused = |text: &str| Expression::parse(text).unwrap_err().message;
    let long = format!("Path(\"/{}\")", "x".repeat(EXPRESSION_BYTES_MAX));
    assert!(refused(&long).contains("8192 bytes"));
    let long = format!("Path(\"/{}\")", "x".repeat(2000));
    assert!(refused(&long).contains("at most 1024 bytes"));
    let holes = format!("Path(\"{}\")", "/<x>".repeat(33));
    assert!(refused(&holes).contains("at most 32 holes"));
    let deep = format!("{}Host(\"a\"){}", "(".repeat(1000), ")".repeat(1000));
    assert!(refused(&deep).contains("nested"));
    let deep = format!("{}Host(\"a\")", "!".repeat(1000));
    assert!(refused(&deep).contains("nested"));
    let many = vec!["Host(`a`)"; MATCHERS_MAX + 1].join(" && ");
    assert!(refused(&many).contains("64 matchers"));
    let explodes = ["(Path(`/a`) || Path(`/b`))"; 9].join(" && ");
    let error = Expression::parse(&explodes).unwrap_err();
    assert!(error.message.contains("512 alternatives: 256 are allowed"), "{error}");
    assert_eq!(error.column, explodes.rfind("&&").unwrap() + 1, "the operator that multiplied too often");
    assert!(Expression::parse(r"PathRegexp(`(\w{1000}){1000}`)").is_err(), "a regexp that explodes");
}

/// An expression with the answer a plain evaluation gives, for one fixed request.
fn boolean() -> impl Strategy<Value = (String, bool)> {
    let leaf = proptest::sample::select(vec![
        ("Host(`a`)".to_owned(), true),
        ("Host(`b`)".to_owned(), false),
        ("Path(`/x`)".to_owned(), true),
        ("PathPrefix(`/y`)".to_owned(), false),
    ]);
    leaf.prop_recursive(4, 16, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|((a, x), (b, y))| (format!("({a} && {b})"), x && y)),
            (inner.clone(), inner.clone()).prop_map(|((a, x), (b, y))| (format!("({a} || {b})"), x || y)),
            inner.prop_map(|(a, x)| (format!("!{a}"), !x)),
        ]
    })
}

proptest! {
    /// Multiplying out changes nothing; only the bound on alternatives may refuse.
    #[test]
    fn alternatives_say_what_the_expression_says((text, expected) in boolean()) {
        match Expression::parse(&text) {
            Ok(expression) => prop_assert_eq!(expression.matches(&head("GET", "a", "/x", &[])), expected),
            Err(error) => prop_assert!(error.message.contains("alternatives"), "{}", error),
        }
    }

    #[test]
    fn the_parser_never_panics(text in ".{0,200}") {
        let _either = Expression::parse(&text);
    }

    #[test]
    fn the_parser_never_panics_on_nearly_right_text(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "Host", "Path", "Header", "PathRegexp", "PathPrefix", "Query", "ClientIP", "(", ")", "\"", "`", "&&",
                "||", "!", ",", "/<a>", "<int:", "\\", "é", " ", "10.0.0.0/8",
            ]),
            0..30,
        )
    ) {
        let text = words.concat();
        if let Ok(expression) = Expression::parse(&text) {
            let _either = expression.matches(&head("GET", "é]:", "/é", &[]));
        }
    }

    #[test]
    fn a_right_expression_of_any_text_never_panics(
        kind in proptest::sample::select(vec!["Host", "Path", "PathPrefix", "PathRegexp", "Method", "HostRegexp"]),
        pattern in "[^`]{0,40}",
        host in ".{0,20}",
        path in ".{0,20}",
        query in proptest::option::of(".{0,20}"),
    ) {
        if let Ok(expression) = Expression::parse(&format!("{kind}(`{pattern}`) || Query(`a`, `<int:b>`)")) {
            let _either = expression.matches(&RequestHead { query: query.as_deref(), ..head("GET", &host, &path, &[]) });
        }
    }
}
