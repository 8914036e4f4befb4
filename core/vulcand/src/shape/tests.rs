use super::*;
use proptest::prelude::*;

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

fn frontend() -> Kind {
    Kind::Frontend { id: "f1".into() }
}

#[test]
fn what_a_client_does_not_know_stays_and_what_it_leaves_out_is_reset() {
    let stored = json!({
        "id": "other", "type": "http", "backendid": "b1", "Route": "Host(`a`)", "Owner": "shop", "Note": 1,
        "Settings": { "Hostname": "edge", "Budget": 7, "Limits": { "MaxBodyBytes": 9, "Window": "1s" } },
    });
    let given = json!({
        "Type": "http", "BackendId": "b2", "Route": "Host(`b`)", "Note": null, "Added": [1], "Stats": { "x": 1 },
        "Settings": { "PassHostHeader": true },
    });
    let changed = changed(&frontend(), object(stored), object(given)).unwrap();
    let expected = json!({
        "Id": "f1", "Type": "http", "BackendId": "b2", "Route": "Host(`b`)", "Owner": "shop", "Added": [1],
        "Settings": { "PassHostHeader": true, "Budget": 7, "Limits": { "Window": "1s" } },
    });
    assert_eq!(Value::Object(changed), expected);
}

#[test]
fn what_may_be_missing_goes_with_all_that_is_in_it() {
    let backend = Kind::Backend { id: "b".into() };
    let stored = json!({ "Type": "http", "Settings": { "TLS": { "MinVersion": "VersionTLS12", "Pin": "x" } } });
    let with = |given| Value::Object(changed(&backend, object(stored.clone()), object(given)).unwrap());
    let kept = with(json!({ "Type": "http", "Settings": { "TLS": { "InsecureSkipVerify": true } } }));
    assert_eq!(kept["Settings"]["TLS"], json!({ "InsecureSkipVerify": true, "Pin": "x" }));
    assert_eq!(with(json!({ "Type": "http" })), json!({ "Id": "b", "Type": "http" }));
}

#[test]
fn a_field_of_another_type_is_named() {
    for (given, path) in [
        (json!({ "Settings": { "Limits": { "MaxBodyBytes": "1" } } }), "Settings.Limits.MaxBodyBytes"),
        (json!({ "Settings": { "limits": { "maxbodybytes": 1.5 } } }), "Settings.Limits.MaxBodyBytes"),
        (json!({ "Settings": [] }), "Settings"),
        (json!({ "Settings": { "Stream": 1 } }), "Settings.Stream"),
        (json!({ "Route": 1 }), "Route"),
    ] {
        let error = changed(&frontend(), Object::new(), object(given)).unwrap_err();
        assert_eq!(error.path, path, "{error}");
    }
    let host = Kind::Host { name: "h".into() };
    let responders = json!({ "Settings": { "OCSP": { "Responders": ["a", 1] } } });
    let error = changed(&host, Object::new(), object(responders)).unwrap_err();
    assert_eq!(error.to_string(), "Settings.OCSP.Responders: expected a list of strings, found a list");
}

#[test]
fn settings_of_vulcands_middlewares_keep_what_vulcand_does_not_know() {
    let kind = Kind::Middleware { frontend: "f".into(), id: "m".into() };
    let stored = json!({ "Type": "ratelimit", "Middleware": { "requests": 1, "Burst": 3, "PerCluster": true } });
    let given = |kind: &str| json!({ "Type": kind, "Middleware": { "Requests": 2, "Variable": "client.ip" } });
    let with = |given| changed(&kind, object(stored.clone()), object(given)).unwrap()["Middleware"].clone();
    let kept = json!({ "Requests": 2, "Variable": "client.ip", "PerCluster": true });
    assert_eq!(with(given("ratelimit")), kept);
    assert_eq!(with(given("connlimit")), given("connlimit")["Middleware"]);
}

#[test]
fn an_object_is_shown_with_all_that_vulcand_shows() {
    let stored = json!({ "id": "x", "type": "http", "backendId": "b", "route": "Path(`/`)", "Owner": "me" });
    let expected = json!({
        "Id": "f1", "Type": "http", "BackendId": "b", "Route": "Path(`/`)", "Owner": "me",
        "Settings": {
            "Limits": { "MaxMemBodyBytes": 0, "MaxBodyBytes": 0 }, "FailoverPredicate": "", "Hostname": "",
            "TrustForwardHeader": false, "PassHostHeader": false, "Stream": false, "StreamFlushIntervalNanoSecs": 0,
        },
    });
    assert_eq!(Value::Object(shown(&frontend(), object(stored))), expected);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z]{0,4}".prop_map(Value::from),
    ];
    let name = prop_oneof!["[a-z]{1,3}", "(Id|TYPE|settings|Limits|MaxBodyBytes|TLS|Middleware|Stats|Hostname)"];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![
        Kind::Host { name: "x".into() },
        Kind::Listener { id: "x".into() },
        Kind::Backend { id: "x".into() },
        Kind::Server { backend: "b".into(), id: "x".into() },
        Kind::Frontend { id: "x".into() },
        Kind::Middleware { frontend: "f".into(), id: "x".into() },
    ])
}

/// Every field that vulcand does not know, with its path.
fn unknown(fields: Fields, object: &Object, path: &str, found: &mut Vec<(String, Value)>) {
    for (name, value) in named(fields, object.clone()) {
        let at = format!("{path}/{name}");
        match fields.iter().find(|field| field.name == name).map(|field| &field.holds) {
            None if !value.is_null() => found.push((at, value)),
            Some(Holds::Object(fields)) => {
                if let Value::Object(inner) = &value {
                    unknown(fields, inner, &at, found);
                }
            }
            _ => {}
        }
    }
}

proptest! {
    /// A client that sends back what it was shown of an object, but for what it cannot know, changes nothing.
    #[test]
    fn a_round_trip_loses_no_field(kind in kinds(), stored in value(), extra in "[p-z]{4}") {
        let Value::Object(mut stored) = stored else { return Ok(()) };
        stored.insert(extra, json!({ "ours": [1, null] }));
        // What was written through the API is of the right types.
        let Ok(stored) = changed(&kind, Object::new(), stored) else { return Ok(()) };
        let shown_before = shown(&kind, stored.clone());
        let again = changed(&kind, stored.clone(), shown_before.clone()).unwrap();
        prop_assert_eq!(shown(&kind, again), shown_before.clone());

        let mut before = Vec::new();
        unknown(kind.fields(), &stored, "", &mut before);
        let known = kind.fields().iter().map(|field| field.name);
        let typed: Object = known.filter_map(|name| Some((name.to_owned(), shown_before.get(name)?.clone()))).collect();
        let mut after = Vec::new();
        unknown(kind.fields(), &changed(&kind, stored, typed).unwrap(), "", &mut after);
        prop_assert_eq!(before, after);
    }

    #[test]
    fn no_value_is_too_strange(kind in kinds(), stored in value(), given in value()) {
        if let (Value::Object(stored), Value::Object(given)) = (stored, given) {
            let _shown = shown(&kind, stored.clone());
            let _changed = changed(&kind, stored, given);
        }
    }
}
