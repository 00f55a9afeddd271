//! Names that may be labels. Clients make up names of models, and Prometheus keeps each label for ever:
//! only names that turned out to be models get a label of their own, and only so many.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

/// How many names get a label of their own, those of the configuration aside.
const MOST: usize = 200;

/// The label of all names that have none of their own.
pub(super) const OTHER: &str = "other";

/// The names with labels of their own.
#[derive(Debug, Default)]
pub(super) struct Names(RwLock<HashSet<Arc<str>>>);

impl Names {
    /// Gives these their labels, as many as there are.
    pub(super) fn add(&self, names: impl IntoIterator<Item = String>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(names.into_iter().map(Arc::from));
    }

    /// The label of a name. `exists` says that somebody answered to it.
    pub(super) fn label(&self, name: &str, exists: bool) -> Arc<str> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = known.get(name) {
            return Arc::clone(name);
        }
        drop(known);
        if !exists || name.is_empty() {
            return OTHER.into();
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            return OTHER.into();
        }
        let name: Arc<str> = name.into();
        known.insert(Arc::clone(&name));
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gets_its_label_once_somebody_answered_to_it() {
        let names = Names::default();
        assert_eq!(&*names.label("a", false), OTHER);
        assert_eq!(&*names.label("a", true), "a");
        assert_eq!(&*names.label("a", false), "a");
        names.add(["b".to_owned()]);
        assert_eq!(&*names.label("b", false), "b");
        assert_eq!(&*names.label("", true), OTHER);
    }

    #[test]
    fn there_are_not_more_labels_than_may_be() {
        let names = Names::default();
        for n in 0..2 * MOST {
            names.label(&n.to_string(), true);
        }
        assert_eq!(&*names.label("0", true), "0");
        assert_eq!(&*names.label("new", true), OTHER);
    }
}
