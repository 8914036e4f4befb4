//! The secrets of middlewares: they go in and are not shown. What was shown and is sent back stays as it is.

use crate::failure::Failure;
use serde_json::Value;

/// Fields that hold one, at any depth, whatever their case.
const SECRETS: [&str; 2] = ["Secret", "Password"];
/// What is shown of one.
const REDACTED: &str = "(redacted)";
/// How entries of lists are told apart.
const NAMES: [&str; 3] = ["Kid", "Id", "Name"];

fn is_secret(name: &str) -> bool {
    SECRETS.iter().any(|secret| secret.eq_ignore_ascii_case(name))
}

pub(crate) fn redact(settings: &mut Value) {
    match settings {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    value if !is_secret(name) => redact(value),
                    Value::Null => {}
                    Value::String(text) if text.is_empty() => {}
                    value => *value = Value::from(REDACTED),
                }
            }
        }
        Value::Array(entries) => entries.iter_mut().for_each(redact),
        _ => {}
    }
}

/// Puts the secrets that are `stored` where they are `given` as they are shown.
pub(crate) fn restore(given: &mut Value, stored: Option<&Value>, path: &str) -> Result<(), Failure> {
    match given {
        Value::Object(fields) => {
            for (name, value) in fields {
                let before = stored.and_then(Value::as_object).and_then(|stored| {
                    let same = |known: &&String| known.eq_ignore_ascii_case(name);
                    stored.get(name).or_else(|| stored.keys().find(same).and_then(|known| stored.get(known)))
                });
                let path = format!("{path}.{name}");
                match (is_secret(name) && *value == REDACTED, before) {
                    (false, before) => restore(value, before, &path)?,
                    (true, Some(secret)) => *value = secret.clone(),
                    (true, None) => return Err(Failure::field(path, "must be given: there is none that could stay")),
                }
            }
        }
        Value::Array(entries) => {
            let stored = stored.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            for entry in entries {
                let named =
                    |one: &&Value| NAMES.iter().any(|name| entry.get(name).is_some_and(|id| one.get(name) == Some(id)));
                let before = stored.iter().find(named);
                restore(entry, before, path)?;
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_stay_though_they_are_not_shown() {
        let stored = json!({ "Username": "u", "password": "p", "Keys": [{ "Kid": "a", "Secret": "1" }, { "Kid": "b", "Secret": "2" }] });
        let mut shown = stored.clone();
        redact(&mut shown);
        let hidden = json!({ "Username": "u", "password": REDACTED, "Keys": [{ "Kid": "a", "Secret": REDACTED }, { "Kid": "b", "Secret": REDACTED }] });
        assert_eq!(shown, hidden);
        let mut same = shown.clone();
        restore(&mut same, Some(&stored), "Middleware").unwrap();
        assert_eq!(same, stored);
        let mut other = json!({ "Keys": [{ "Kid": "b", "Secret": REDACTED }, { "Kid": "a", "Secret": "new" }] });
        restore(&mut other, Some(&stored), "Middleware").unwrap();
        assert_eq!(other, json!({ "Keys": [{ "Kid": "b", "Secret": "2" }, { "Kid": "a", "Secret": "new" }] }));
        let unknown = restore(&mut shown, None, "Middleware").unwrap_err().to_string();
        assert!(unknown.contains("must be given"), "{unknown}");
    }
}
