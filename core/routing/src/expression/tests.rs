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
    ] {
        let found = Expression::parse(expression).unwrap().matches(&head("GET", "", "/", &headers));
        assert_eq!(found, expected, "{expression}");
    }
}

#[test]
fn conjunctions_parentheses_and_spaces() {
    let text = "  ( Host(\"a\") && (Path(`/x`))\n) &&\tMethod(\"GET\") ";
    assert!(matches(text, "GET", "a", "/x"));
    assert!(!matches(text, "PUT", "a", "/x"));
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
        (r#"Host("a") || Path("/")"#, 11, "write two routes"),
        (r#"!Host("a")"#, 1, "not in the language"),
        (r#"Host("a") && "#, 14, "found the end"),
        (r#"Host("a"#, 6, "no closing quote"),
        (r#"Host(`a"#, 6, "backtick"),
        (r#"Hots("a")"#, 1, "unknown matcher `Hots`"),
        (r#"TrieRoute("GET", "/p")"#, 1, "older than vulcand 0.8"),
        (r#"Host("a", "b")"#, 9, "expected `)`, found `,`"),
        (r#"Header("a b", "c")"#, 8, "no header name"),
        (r#"Path("")"#, 6, "never empty"),
        (r#"Path("/<a")"#, 8, "no closing `>`"),
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
    let long = format!("Path(\"/{}\")", "x".repeat(EXPRESSION_BYTES_MAX));
    assert!(Expression::parse(&long).is_err());
    let deep = format!("{}Host(\"a\"){}", "(".repeat(1000), ")".repeat(1000));
    assert!(Expression::parse(&deep).is_err());
    let many = vec!["Host(`a`)"; MATCHERS_MAX + 1].join(" && ");
    assert!(Expression::parse(&many).is_err());
    assert!(Expression::parse(r"PathRegexp(`(\w{1000}){1000}`)").is_err(), "a regexp that explodes");
}

proptest! {
    #[test]
    fn the_parser_never_panics(text in ".{0,200}") {
        let _either = Expression::parse(&text);
    }

    #[test]
    fn the_parser_never_panics_on_nearly_right_text(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "Host", "Path", "Header", "PathRegexp", "(", ")", "\"", "`", "&&", ",", "/<a>", "<int:", "\\", "é", " ",
            ]),
            0..30,
        )
    ) {
        let text = words.concat();
        if let Ok(expression) = Expression::parse(&text) {
            let _either = expression.matches(&head("GET", "é]:", "/é", &[]));
        }
    }
}
