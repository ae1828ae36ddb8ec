//! The environment variables, read once.

use std::collections::HashMap;
use std::ffi::OsString;

use super::error::InstallError;

/// A copy of the variables the crate reads, so that one install sees one state of them.
#[derive(Debug, Default)]
pub(super) struct Environment {
    variables: HashMap<String, OsString>,
}

impl Environment {
    pub(super) fn of_process() -> Self {
        Self::from_iter(std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))))
    }

    /// Returns the value of a variable without the blanks around it, or `None` if it is unset or blank.
    ///
    /// # Errors
    ///
    /// When the value is not Unicode.
    pub(super) fn get(&self, name: &str) -> Result<Option<&str>, InstallError> {
        let Some(value) = self.variables.get(name) else { return Ok(None) };
        match value.to_str() {
            Some(value) => Ok(Some(value.trim()).filter(|value| !value.is_empty())),
            // Not shown: it may be a header with a key.
            None => Err(InstallError::invalid_secret(&format!("{name}=…"), "the value is not valid Unicode")),
        }
    }

    /// Returns the first of several variables that is set, with its name.
    ///
    /// # Errors
    ///
    /// When its value is not Unicode.
    pub(super) fn first<'a>(&'a self, names: &[&'static str]) -> Result<Option<(&'static str, &'a str)>, InstallError> {
        for &name in names {
            if let Some(value) = self.get(name)? {
                return Ok(Some((name, value)));
            }
        }
        Ok(None)
    }
}

impl<K: Into<String>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self { variables: variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}
