//! Deleting objects, one or up to a thousand.

use super::bucket;
use crate::conditions::unquoted;
use crate::fault::{Fault, Result};
use crate::limits::{DELETES_AT_ONCE, KEY_BYTES_MAX, PAGE_ITEMS_MAX};
use crate::receive;
use crate::service::{Call, Service, empty_response, xml_response};
use crate::xml::{self, Xml};
use axum::body::Body;
use futures::StreamExt;
use http::header::IF_MATCH;
use http::{Response, StatusCode};
use objectlog::Condition;
use serde::Deserialize;

pub async fn one(service: &Service, call: &Call) -> Result<Response<Body>> {
    let condition = match call.head.headers.get(IF_MATCH).and_then(|value| value.to_str().ok()) {
        None => Condition::Always,
        Some(etag) => Condition::Matches(unquoted(etag).to_owned()),
    };
    service.log.delete(&call.bucket, &call.key, &condition).await?;
    Ok(empty_response(StatusCode::NO_CONTENT))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    #[serde(default)]
    quiet: bool,
    #[serde(rename = "Object", default)]
    objects: Vec<Named>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    key: String,
}

pub async fn many(service: &Service, call: &Call, body: Body) -> Result<Response<Body>> {
    bucket::info(service, &call.bucket)?;
    let document = receive::document(&call.head.headers, call.caller.payload.clone(), body).await?;
    let request: Request = xml::parse(&document)?;
    if request.objects.is_empty() || request.objects.len() > PAGE_ITEMS_MAX {
        return Err(Fault::malformed_xml());
    }
    let bucket = call.bucket.as_str();
    let deletions = request.objects.into_iter().map(|Named { key }| async move {
        let result = match key.len() > KEY_BYTES_MAX {
            true => Err(Fault::key_too_long()),
            false => service.log.delete(bucket, &key, &Condition::Always).await.map_err(Fault::from),
        };
        (key, result)
    });
    let results: Vec<_> = futures::stream::iter(deletions).buffered(DELETES_AT_ONCE).collect().await;
    Ok(xml_response(Xml::document("DeleteResult", |xml| {
        for (key, result) in &results {
            match result {
                Ok(_) if request.quiet => {}
                Ok(_) => xml.group("Deleted", |xml| xml.text("Key", key)),
                Err(fault) => xml.group("Error", |xml| {
                    xml.text("Key", key);
                    xml.text("Code", fault.code);
                    xml.text("Message", &fault.message);
                }),
            }
        }
    })))
}
