//! S3's XML: a writer that cannot write an unbalanced document, and a bounded reader.

use crate::fault::{Fault, Result};
use serde::de::DeserializeOwned;

const NAMESPACE: &str = " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";

pub struct Xml(String);

impl Xml {
    /// With the prologue: old SDKs want it.
    pub fn new() -> Self {
        Self("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned())
    }

    /// A document whose root has S3's namespace.
    pub fn document(root: &str, content: impl FnOnce(&mut Self)) -> String {
        let mut xml = Self::new();
        xml.element(root, NAMESPACE, content);
        xml.finish()
    }

    /// `attributes` are written as they are: constants, each after a space.
    pub fn element(&mut self, name: &str, attributes: &'static str, content: impl FnOnce(&mut Self)) {
        self.0.push('<');
        self.0.push_str(name);
        self.0.push_str(attributes);
        self.0.push('>');
        content(self);
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
    }

    pub fn group(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.element(name, "", content);
    }

    pub fn text(&mut self, name: &str, text: impl AsRef<str>) {
        self.element(name, "", |xml| xml.escape(text.as_ref()));
    }

    /// `&quot;` and control characters as numbers, as S3 writes them.
    fn escape(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                control if (control as u32) < 0x20 => self.0.push_str(&format!("&#x{:x};", control as u32)),
                character => self.0.push(character),
            }
        }
    }

    pub fn finish(self) -> String {
        self.0
    }
}

/// Reads a document; unknown elements are ignored.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::malformed_xml())?;
    quick_xml::de::from_str(text).map_err(|_| Fault::malformed_xml())
}
