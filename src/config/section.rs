//! A section of the settings file, read value by value. What nobody asked for is unknown; so there is one list of keys only, the
//! code that reads them.

use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong, and where in the file: bytes from its beginning.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) what: String,
}

/// A table of the file, or one that is not there.
#[derive(Debug)]
pub(super) struct Section<'a> {
    name: String,
    at: usize,
    table: Option<&'a DeTable<'a>>,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(table: &'a DeTable<'a>) -> Self {
        Self {
            name: String::new(),
            at: 0,
            table: Some(table),
            asked: Vec::new(),
        }
    }

    /// A section in this one; empty where it is not there.
    pub(super) fn section(&mut self, key: &'static str) -> Result<Self, Wrong> {
        let Some(value) = self.value(key) else {
            return Ok(Self {
                name: key.to_owned(),
                at: self.at,
                table: None,
                asked: Vec::new(),
            });
        };
        Self::of(key.to_owned(), value)
    }

    /// The tables of a section whose names are of the owner's choosing, in the order of the names.
    pub(super) fn named(&mut self, key: &'static str) -> Result<Vec<(String, Self)>, Wrong> {
        let section = self.section(key)?;
        let entries = section.table.into_iter().flatten();
        entries
            .map(|(name, value)| {
                let name = name.get_ref().to_string();
                let table = Self::of(format!("{key}.{name}"), value)?;
                Ok((name, table))
            })
            .collect()
    }

    fn of(name: String, value: &'a Spanned<DeValue<'a>>) -> Result<Self, Wrong> {
        let at = value.span().start;
        match value.get_ref().as_table() {
            Some(table) => Ok(Self {
                name,
                at,
                table: Some(table),
                asked: Vec::new(),
            }),
            None => Err(Wrong {
                at,
                what: format!("`{name}` is a section: write [{name}], and its settings below"),
            }),
        }
    }

    /// The value of a key, of whatever type.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        let mut entries = self.table?.iter();
        let entry = entries.find(|(typed, _)| typed.get_ref().as_ref() == key);
        entry.map(|(_, value)| value)
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>, Wrong> {
        self.typed(key, "is a text: \"…\"", |value| {
            value.as_str().map(str::to_owned)
        })
    }

    pub(super) fn path(&mut self, key: &'static str) -> Result<Option<PathBuf>, Wrong> {
        Ok(self.text(key)?.map(PathBuf::from))
    }

    /// A list of texts; empty where it is not there.
    pub(super) fn texts(&mut self, key: &'static str) -> Result<Vec<String>, Wrong> {
        let read = |value: &DeValue<'_>| {
            let entries = value.as_array()?.iter();
            entries
                .map(|entry| entry.get_ref().as_str().map(str::to_owned))
                .collect()
        };
        let texts = self.typed(key, "is a list of texts: [\"…\", \"…\"]", read)?;
        Ok(texts.unwrap_or_default())
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Result<Option<bool>, Wrong> {
        self.typed(key, "is true or false", DeValue::as_bool)
    }

    /// A number, whole or not.
    pub(super) fn number(&mut self, key: &'static str) -> Result<Option<f64>, Wrong> {
        self.typed(key, "is a number", |value| match value {
            DeValue::Float(float) => float.as_str().replace('_', "").parse().ok(),
            value => whole(value)
                .and_then(|number| u32::try_from(number).ok())
                .map(f64::from),
        })
    }

    /// A whole number, from 0.
    pub(super) fn whole<T: TryFrom<u64>>(&mut self, key: &'static str) -> Result<Option<T>, Wrong> {
        self.typed(key, "is a whole number", |value| {
            T::try_from(whole(value)?).ok()
        })
    }

    fn typed<T>(
        &mut self,
        key: &'static str,
        what: &str,
        read: impl FnOnce(&DeValue<'a>) -> Option<T>,
    ) -> Result<Option<T>, Wrong> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match read(value.get_ref()) {
            Some(value) => Ok(Some(value)),
            None => Err(Wrong {
                at: value.span().start,
                what: format!(
                    "[{}] {key} {what}; correct it, or delete the line to get the default",
                    self.name
                ),
            }),
        }
    }

    /// That a value of this section is wrong: `what` names the key and says what is wanted.
    pub(super) fn wrong(&self, what: &str) -> Wrong {
        let first = what.split(' ').next().unwrap_or_default();
        let mut entries = self.table.into_iter().flatten();
        let value = entries
            .find(|(key, _)| key.get_ref().as_ref() == first)
            .map(|(_, value)| value);
        Wrong {
            at: value.map_or(self.at, |value| value.span().start),
            what: format!("[{}] {what}", self.name),
        }
    }

    /// Everything was asked for: what is left is unknown.
    pub(super) fn finish(self) -> Result<(), Wrong> {
        let mut entries = self.table.into_iter().flatten();
        let unknown = entries.find(|(key, _)| !self.asked.contains(&key.get_ref().as_ref()));
        let Some((key, _)) = unknown else {
            return Ok(());
        };
        let sort = if self.name.is_empty() {
            "section"
        } else {
            "setting"
        };
        Err(Wrong {
            at: key.span().start,
            what: say_unknown(sort, key.get_ref(), &self.asked),
        })
    }
}

/// A whole number from 0, however it is written.
pub(super) fn whole(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
}

fn say_unknown(sort: &str, typed: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(typed, name), name))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    match near {
        Some((_, near)) => format!("there is no {sort} `{typed}`; did you mean `{near}`?"),
        None => format!(
            "there is no {sort} `{typed}`; there are: {}",
            known.join(", ")
        ),
    }
}
