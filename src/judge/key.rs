//! The key of an incident, as people see it: made clean when somebody looks, and never if nobody does.
//!
//! Whoever writes a new key with each line makes as many of these as lines, and of hardly any is ever spoken: they are
//! counted and let go. To make one clean costs more than all the counting, because its whole line must be searched for
//! secrets. So a key begins as what it was made of, raw, where no serialiser and no message can see it, and reading it is
//! what makes it clean.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::evidence::clean_parts;
use super::memory::PIECE;
use crate::hit::Hit;
use crate::redact::Redactor;

/// Names and clean values.
#[derive(Debug, Default)]
pub(super) struct Key {
    clean: OnceLock<Vec<(String, String)>>,
    raw: Option<Raw>,
}

/// What it is made of.
struct Raw {
    redactor: Redactor,
    by: Arc<[String]>,
    values: Box<[Box<str>]>,
    line: Arc<str>,
}

impl Key {
    /// Of a hit of a rule that is grouped `by` these.
    pub(super) fn of(redactor: &Redactor, by: &Arc<[String]>, hit: &Hit) -> Key {
        if hit.key.is_empty() {
            return Key::default();
        }
        let (redactor, by) = (redactor.clone(), Arc::clone(by));
        let raw = Raw { redactor, by, values: hit.key.clone(), line: Arc::clone(&hit.line) };
        Key { clean: OnceLock::new(), raw: Some(raw) }
    }

    /// What it holds beside itself, in bytes.
    pub(super) fn heap(&self) -> usize {
        let raw = self.raw.as_ref().map_or(0, |raw| {
            let values = raw.values.iter().map(|v| size_of::<Box<str>>() + PIECE + v.len());
            3 * PIECE + raw.line.len() + values.sum::<usize>()
        });
        let one = |(name, value): &(String, String)| {
            size_of::<(String, String)>() + name.len() + value.len() + 2 * PIECE
        };
        raw + self.clean.get().map_or(0, |parts| parts.iter().map(one).sum())
    }

    /// Makes it clean, and forgets what it was made of.
    pub(super) fn tidy(self: &mut Arc<Key>) {
        if self.raw.is_some() {
            let clean = self.to_vec();
            *self = Arc::new(clean.into());
        }
    }
}

impl From<Vec<(String, String)>> for Key {
    fn from(clean: Vec<(String, String)>) -> Key {
        Key { clean: clean.into(), raw: None }
    }
}

impl Deref for Key {
    type Target = [(String, String)];

    fn deref(&self) -> &[(String, String)] {
        self.clean.get_or_init(|| {
            self.raw
                .as_ref()
                .map_or_else(Vec::new, |raw| clean_parts(&raw.redactor, &raw.by, &raw.values, &raw.line))
        })
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Key, D::Error> {
        Vec::deserialize(from).map(Key::from)
    }
}

/// Without a byte of any log.
impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Raw").finish_non_exhaustive()
    }
}
