//! What targets have in common whose input is JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// The words of a target whose language is JSON: JSON's, and its own.
#[macro_export]
macro_rules! json_words {
    ($($word:expr),* $(,)?) => {
        &["{", "}", "[", "]", ":", ",", "\"", "null", "true", "\\u0000", $($word),*]
    };
}

/// One that can be read is written so that it reads the same.
pub fn read<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let read = serde_json::from_slice::<T>(bytes).ok()?;
    let written = serde_json::to_vec(&read).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<T>(&written).expect("it was written"), read);
    Some(read)
}
