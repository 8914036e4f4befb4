//! Listings: versions 1 and 2, and the listing of versions of a bucket that has one version of each object.

use super::bucket;
use crate::fault::{Fault, Result};
use crate::limits::PAGE_ITEMS_MAX;
use crate::service::{Call, Service, iso_date, xml_response};
use crate::xml::Xml;
use axum::body::Body;
use http::Response;
use objectlog::{ListQuery, Listing, Object};

/// What all listings have in common.
struct Page<'a> {
    prefix: &'a str,
    delimiter: Option<&'a str>,
    items_max: usize,
    encodes: bool,
    owner: String,
}

impl<'a> Page<'a> {
    fn of(service: &Service, call: &'a Call) -> Result<Self> {
        let owner = bucket::info(service, &call.bucket)?.owner;
        let encodes = match call.query.get("encoding-type") {
            None | Some("") => false,
            Some("url") => true,
            Some(_) => return Err(Fault::invalid_argument("Invalid Encoding Method specified in Request")),
        };
        let asked = call.query.number::<u32>("max-keys")?.unwrap_or(PAGE_ITEMS_MAX as u32);
        Ok(Self {
            prefix: call.query.get("prefix").unwrap_or_default(),
            delimiter: call.query.get("delimiter").filter(|delimiter| !delimiter.is_empty()),
            items_max: (asked as usize).min(PAGE_ITEMS_MAX),
            encodes,
            owner,
        })
    }

    fn list(&self, service: &Service, call: &Call, after: Option<&str>) -> Result<Listing> {
        // A page of nothing is never cut short.
        if self.items_max == 0 {
            return Ok(Listing::default());
        }
        let after = after.filter(|after| !after.is_empty());
        let (prefix, delimiter, items_max) = (self.prefix, self.delimiter, self.items_max);
        Ok(service.log.list(&call.bucket, ListQuery { prefix, delimiter, after, items_max })?)
    }

    fn name(&self, name: &str) -> String {
        if self.encodes { s3sign::encode_path(name) } else { name.to_owned() }
    }

    fn head(&self, xml: &mut Xml, call: &Call, is_truncated: bool) {
        xml.text("Name", &call.bucket);
        xml.text("MaxKeys", self.items_max.to_string());
        if let Some(delimiter) = self.delimiter {
            xml.text("Delimiter", self.name(delimiter));
        }
        if self.encodes {
            xml.text("EncodingType", "url");
        }
        xml.text("IsTruncated", is_truncated.to_string());
    }

    fn object(&self, xml: &mut Xml, element: &str, key: &str, object: &Object, is_version: bool, with_owner: bool) {
        xml.group(element, |xml| {
            xml.text("Key", self.name(key));
            if is_version {
                xml.text("VersionId", "null");
                xml.text("IsLatest", "true");
            }
            xml.text("LastModified", iso_date(object.modified_ms));
            xml.text("ETag", format!("\"{}\"", object.etag));
            xml.text("Size", object.len.to_string());
            if with_owner {
                bucket::owner(xml, "Owner", &self.owner);
            }
            xml.text("StorageClass", "STANDARD");
        });
    }

    fn prefixes(&self, xml: &mut Xml, prefixes: &[String]) {
        for prefix in prefixes {
            xml.group("CommonPrefixes", |xml| xml.text("Prefix", self.name(prefix)));
        }
    }
}

pub fn version_1(service: &Service, call: &Call) -> Result<Response<Body>> {
    let page = Page::of(service, call)?;
    let marker = call.query.get("marker").unwrap_or_default();
    let listing = page.list(service, call, Some(marker))?;
    Ok(xml_response(Xml::document("ListBucketResult", |xml| {
        page.head(xml, call, listing.next.is_some());
        // Version 1 alone says its prefix back unencoded.
        xml.text("Prefix", page.prefix);
        xml.text("Marker", page.name(marker));
        // S3 names the next marker only where the last key would not do.
        if let Some(next) = listing.next.as_ref().filter(|_| page.delimiter.is_some()) {
            xml.text("NextMarker", page.name(next));
        }
        for (key, object) in &listing.objects {
            page.object(xml, "Contents", key, object, false, true);
        }
        page.prefixes(xml, &listing.prefixes);
    })))
}

pub fn version_2(service: &Service, call: &Call) -> Result<Response<Body>> {
    let page = Page::of(service, call)?;
    let token = call.query.get("continuation-token");
    let invalid = || Fault::invalid_argument("The continuation token provided is incorrect");
    let resumed = match token {
        None => None,
        Some(token) => {
            Some(hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(invalid)?)
        }
    };
    let start_after = call.query.get("start-after");
    let listing = page.list(service, call, resumed.as_deref().or(start_after))?;
    let with_owner = call.query.get("fetch-owner") == Some("true");
    Ok(xml_response(Xml::document("ListBucketResult", |xml| {
        page.head(xml, call, listing.next.is_some());
        xml.text("Prefix", page.name(page.prefix));
        xml.text("KeyCount", (listing.objects.len() + listing.prefixes.len()).to_string());
        if let Some(token) = token {
            xml.text("ContinuationToken", token);
        }
        if let Some(next) = &listing.next {
            xml.text("NextContinuationToken", hex::encode(next));
        }
        if let Some(start_after) = start_after {
            xml.text("StartAfter", page.name(start_after));
        }
        for (key, object) in &listing.objects {
            page.object(xml, "Contents", key, object, false, with_owner);
        }
        page.prefixes(xml, &listing.prefixes);
    })))
}

pub fn versions(service: &Service, call: &Call) -> Result<Response<Body>> {
    let page = Page::of(service, call)?;
    let marker = call.query.get("key-marker").unwrap_or_default();
    let listing = page.list(service, call, Some(marker))?;
    Ok(xml_response(Xml::document("ListVersionsResult", |xml| {
        page.head(xml, call, listing.next.is_some());
        xml.text("Prefix", page.name(page.prefix));
        xml.text("KeyMarker", page.name(marker));
        xml.text("VersionIdMarker", call.query.get("version-id-marker").unwrap_or_default());
        if let Some(next) = &listing.next {
            xml.text("NextKeyMarker", page.name(next));
            xml.text("NextVersionIdMarker", "null");
        }
        for (key, object) in &listing.objects {
            page.object(xml, "Version", key, object, true, true);
        }
        page.prefixes(xml, &listing.prefixes);
    })))
}
