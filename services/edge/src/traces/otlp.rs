//! Spans as OTLP/JSON (OTLP 1.x; the JSON mapping of `ExportTraceServiceRequest`, with ids in hexadecimal).

use super::{Kind, Span, Value};
use crate::identifiers::Hex;
use serde_json::json;

const STATUS_ERROR: u32 = 2;

/// The body of a request to the collector.
pub(super) fn body(edge_id: &str, spans: &[Span]) -> Vec<u8> {
    let resource = [
        ("service.name", Value::Text("roadstead-edge".into())),
        ("service.instance.id", Value::Text(edge_id.to_owned())),
        ("service.version", Value::Text(env!("CARGO_PKG_VERSION").to_owned())),
    ];
    let scope = json!({ "name": "roadstead.edge", "version": env!("CARGO_PKG_VERSION") });
    let spans: Vec<_> = spans.iter().map(span).collect();
    let request = json!({
        "resourceSpans": [{
            "resource": { "attributes": attributes(&resource) },
            "scopeSpans": [{ "scope": scope, "spans": spans }],
        }],
    });
    request.to_string().into_bytes()
}

fn span(span: &Span) -> serde_json::Value {
    let kind = match span.kind {
        Kind::Server => 2,
        Kind::Client => 3,
    };
    let context = &span.context;
    json!({
        "traceId": Hex(&context.trace_id).to_string(),
        "spanId": Hex(&context.span_id).to_string(),
        "parentSpanId": context.parent.map(|parent| Hex(&parent).to_string()).unwrap_or_default(),
        "flags": u32::from(context.is_sampled),
        "name": span.name,
        "kind": kind,
        // 64 bits are strings.
        "startTimeUnixNano": span.begun_nanos.to_string(),
        "endTimeUnixNano": span.ended_nanos.to_string(),
        "attributes": attributes(&span.attributes),
        "status": if span.is_error { json!({ "code": STATUS_ERROR }) } else { json!({}) },
    })
}

fn attributes(attributes: &[(&'static str, Value)]) -> Vec<serde_json::Value> {
    let attribute = |(key, value): &(&'static str, Value)| {
        let value = match value {
            Value::Text(text) => json!({ "stringValue": text }),
            Value::Number(number) => json!({ "intValue": number.to_string() }),
        };
        json!({ "key": key, "value": value })
    };
    attributes.iter().map(attribute).collect()
}
