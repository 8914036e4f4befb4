use super::*;
use proptest::prelude::*;

#[test]
fn field_names_match_whatever_their_case_and_the_keys_id_wins() {
    let server = Server::parse("s1", br#"{"ID":"other","Url":"http://localhost:5000","Unknown":[1]}"#).unwrap();
    assert_eq!(server, Server::new("s1", "http://localhost:5000"));
    let frontend = br#"{"type":"http","BACKENDID":"b1","route":"Host(`a`)","Settings":{"passhostheader":true,
        "Limits":{"MaxBodyBytes":7},"FailoverPredicate":null,"Hostname":"edge"}}"#;
    let frontend = Frontend::parse("f1", frontend).unwrap();
    assert!(frontend.settings.pass_host_header);
    assert_eq!(frontend.settings.limits.max_body_bytes, 7);
    assert_eq!((frontend.id.as_str(), frontend.settings.hostname.as_str()), ("f1", "edge"));
}

#[test]
fn values_are_written_as_vulcand_writes_them() {
    let text = |value: Value| value.to_string();
    let server = serde_json::to_string(&Server::new("h-1", "http://h:1")).unwrap();
    assert_eq!(server, r#"{"Id":"h-1","URL":"http://h:1"}"#);
    assert_eq!(text(serde_json::to_value(Backend::new("b")).unwrap()), r#"{"Id":"b","Type":"http"}"#);
    let frontend = Frontend::new("f", "b", "Host(`a`)");
    let written = serde_json::to_vec(&frontend).unwrap();
    assert_eq!(Frontend::parse("f", &written).unwrap(), frontend);
}

#[test]
fn what_cannot_be_served_is_refused() {
    assert!(matches!(Backend::parse("b", b"{}"), Err(ObjectError::Missing { field: "Type" })));
    assert!(matches!(Backend::parse("b", b"[]"), Err(ObjectError::Json(_))));
    assert!(matches!(Backend::parse("b", br#"{"Type":"tcp"}"#), Err(ObjectError::Type { .. })));
    let timeouts = br#"{"Type":"http","Settings":{"Timeouts":{"Dial":"x"}}}"#;
    assert!(matches!(Backend::parse("b", timeouts), Err(ObjectError::Duration { .. })));
    let timeouts = br#"{"Type":"http","Settings":{"Timeouts":{"TLSHandshake":"x"}}}"#;
    assert!(matches!(Backend::parse("b", timeouts), Err(ObjectError::Duration { .. })));
    let route = br#"{"Type":"http","BackendId":"b","Route":"nonsense"}"#;
    assert!(matches!(Frontend::parse("f", route), Err(ObjectError::Route { .. })));
    assert!(matches!(Server::parse("s", br#"{"URL":"tcp://a"}"#), Err(ObjectError::Server(_))));
    for listener in [
        r#"{"Protocol":"ftp","Address":{"Network":"tcp","Address":"127.0.0.1:1"}}"#,
        r#"{"Protocol":"https","Address":{"Address":"127.0.0.1:1"},"Settings":{"TLS":{"MaxVersion":"x"}}}"#,
        r#"{"Protocol":"http","Address":{"Network":"unix","Address":"/tmp/x"}}"#,
        r#"{"Protocol":"http","Address":{"Network":"tcp","Address":"example.com:1"}}"#,
        r#"{"Protocol":"http","Address":{"Network":"tcp","Address":"127.0.0.1:1"},"ProxyProtocol":"PROXY_V3"}"#,
        r#"{"Protocol":"http","Address":{"Network":"tcp","Address":"127.0.0.1:1"},"Scope":"x"}"#,
    ] {
        assert!(Listener::parse("l", listener.as_bytes()).is_err(), "{listener}");
    }
}

proptest! {
    #[test]
    fn no_value_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64), json in ".{0,64}") {
        for bytes in [bytes.as_slice(), json.as_bytes()] {
            let _results = (
                Server::parse("x", bytes).is_ok(),
                Backend::parse("x", bytes).is_ok(),
                Frontend::parse("x", bytes).is_ok(),
                Listener::parse("x", bytes).is_ok(),
                Middleware::parse("x", bytes).is_ok(),
            );
        }
    }
}
