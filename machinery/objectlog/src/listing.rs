//! A page of a bucket's keys, in the order of their bytes, folded at a delimiter.

use crate::state::Object;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, Default)]
pub struct ListQuery<'a> {
    pub prefix: &'a str,
    /// Keys that hold it after the prefix are folded into one common prefix.
    pub delimiter: Option<&'a str>,
    /// Only keys and common prefixes greater than this.
    pub after: Option<&'a str>,
    /// Keys and common prefixes together.
    pub items_max: usize,
}

#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub objects: Vec<(String, Arc<Object>)>,
    pub prefixes: Vec<String>,
    /// The last item of this page, if there are more: the next page's `after`.
    pub next: Option<String>,
}

/// Costs what it returns: a common prefix is found by its first key and left by one seek.
pub(crate) fn list(objects: &BTreeMap<String, Arc<Object>>, query: ListQuery<'_>) -> Listing {
    let mut listing = Listing::default();
    let mut from = match query.after {
        Some(after) if after >= query.prefix => Bound::Excluded(after.to_owned()),
        _ => Bound::Included(query.prefix.to_owned()),
    };
    let mut last: Option<String> = None;
    'seek: loop {
        for (key, object) in objects.range((from.clone(), Bound::Unbounded)) {
            let Some(rest) = key.strip_prefix(query.prefix) else { break 'seek };
            let fold = query.delimiter.filter(|delimiter| !delimiter.is_empty());
            let fold =
                fold.and_then(|delimiter| rest.find(delimiter).map(|at| query.prefix.len() + at + delimiter.len()));
            let item = fold.map_or(key.as_str(), |end| &key[..end]);
            let is_new = query.after.is_none_or(|after| item > after) && last.as_deref() != Some(item);
            if is_new {
                if listing.objects.len() + listing.prefixes.len() >= query.items_max {
                    listing.next = last;
                    return listing;
                }
                last = Some(item.to_owned());
                match fold {
                    Some(_) => listing.prefixes.push(item.to_owned()),
                    None => listing.objects.push((key.clone(), Arc::clone(object))),
                }
            }
            if fold.is_some() {
                // No key with this prefix sorts after it but those that go on with the last character there is.
                let beyond = format!("{item}{}", char::MAX);
                from = Bound::Excluded(beyond.max(key.clone()));
                continue 'seek;
            }
        }
        return listing;
    }
    listing
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn bucket(keys: &[String]) -> BTreeMap<String, Arc<Object>> {
        keys.iter().map(|key| (key.clone(), Arc::new(Object::example()))).collect()
    }

    fn all_pages(objects: &BTreeMap<String, Arc<Object>>, query: ListQuery<'_>) -> Vec<String> {
        let mut items = Vec::new();
        let mut after: Option<String> = query.after.map(str::to_owned);
        loop {
            let page = list(objects, ListQuery { after: after.as_deref(), ..query });
            let mut page_items: Vec<String> = page.objects.into_iter().map(|(key, _)| key).collect();
            page_items.extend(page.prefixes);
            page_items.sort();
            assert!(page_items.len() <= query.items_max);
            items.extend(page_items);
            match page.next {
                Some(next) => after = Some(next),
                None => return items,
            }
        }
    }

    proptest! {
        /// Against the definition: fold every key, keep each result once.
        #[test]
        fn pages_join_up_to_the_folded_set(
            keys in prop::collection::vec("[ab/\u{10FFFF}]{1,5}", 0..30),
            prefix in "[ab/]{0,2}",
            delimiter in prop::option::of("/|b"),
            items_max in 1usize..5,
        ) {
            let query = ListQuery { prefix: &prefix, delimiter: delimiter.as_deref(), after: None, items_max };
            let fold = |key: &String| match &delimiter {
                Some(delimiter) => match key[prefix.len()..].find(delimiter.as_str()) {
                    Some(at) => key[..prefix.len() + at + delimiter.len()].to_owned(),
                    None => key.clone(),
                },
                None => key.clone(),
            };
            let expected: BTreeSet<String> = keys.iter().filter(|key| key.starts_with(&prefix)).map(fold).collect();
            prop_assert_eq!(all_pages(&bucket(&keys), query), expected.into_iter().collect::<Vec<_>>());
        }
    }
}
