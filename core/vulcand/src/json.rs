//! Go's reading of JSON: field names match whatever their case, `null` leaves a field as it was, unknown fields are ignored.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A middleware's own settings are not ours to rewrite.
const OPAQUE_FIELD: &str = "middleware";

/// Reads a value whose type names its fields in lower case.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    let value: Value = serde_json::from_slice(bytes)?;
    if !value.is_object() {
        // serde would fill a struct from a list, in order; Go does not.
        return Err(serde::de::Error::custom("expected an object"));
    }
    serde_json::from_value(lower_names(value))
}

/// serde_json bounds the depth of what it reads, and so of this recursion.
fn lower_names(value: Value) -> Value {
    let Value::Object(fields) = value else { return value };
    let mut lowered = Map::new();
    for (name, value) in fields {
        let name = name.to_lowercase();
        if value.is_null() {
            continue;
        }
        let value = if name == OPAQUE_FIELD { value } else { lower_names(value) };
        lowered.insert(name, value);
    }
    Value::Object(lowered)
}
