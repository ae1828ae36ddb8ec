//! The resource attributes: the name of the service and others, which the page and the spans share.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Mutex;

use super::Resolver;
use crate::fork::Origin;
use crate::install::error::InstallError;
use crate::install::setting::Setting;
use crate::lock::unpoisoned;

impl Resolver<'_> {
    /// Resolves the resource attributes of the spans, which are also the labels of `target_info`. `service.name` is first.
    pub(super) fn resource(&self) -> Result<Vec<(String, String)>, InstallError> {
        let mut attributes: Vec<(String, String)> = Vec::new();
        // If a key is repeated, the page and the spans use the last value.
        for (key, value) in self.variable("OTEL_RESOURCE_ATTRIBUTES", Setting::pairs)?.unwrap_or_default() {
            attributes.retain(|(earlier, _)| *earlier != key);
            attributes.push((key, value));
        }
        let mut take = |wanted: &str| {
            let found = attributes.iter().position(|(key, _)| key == wanted)?;
            Some(attributes.remove(found).1).filter(|value| !value.trim().is_empty())
        };
        let (listed_name, listed_instance) = (take("service.name"), take("service.instance.id"));
        let name = match &self.builder.service_name {
            Some(name) if name.trim().is_empty() => {
                return Err(Setting::new("with_service_name", name).invalid("the name is blank"));
            }
            Some(name) => name.clone(),
            None => match self.environment.get("OTEL_SERVICE_NAME")? {
                Some(name) => name.to_owned(),
                None => listed_name.unwrap_or_else(executable_name),
            },
        };
        let instance = listed_instance.unwrap_or_else(instance_id);
        let own = [("service.name", name), ("service.instance.id", instance)];
        Ok(own.into_iter().map(|(key, value)| (key.to_owned(), value)).chain(attributes).collect())
    }
}

pub(super) fn executable_name() -> String {
    let path = std::env::current_exe().ok();
    let name = path.as_ref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy());
    // Only the system's suffix is removed. `file_stem` would cut `bot-1.2` to `bot-1`.
    let name = name.as_ref().map(|name| name.strip_suffix(std::env::consts::EXE_SUFFIX).unwrap_or(name));
    name.filter(|name| !name.is_empty()).unwrap_or("unknown_service").to_owned()
}

/// Returns the id of this process, the same for everything that it installs.
fn instance_id() -> String {
    static ID: Mutex<Option<(Origin, String)>> = Mutex::new(None);
    let mut known = unpoisoned(ID.lock());
    // The child of a fork is another process.
    if known.as_ref().is_none_or(|(origin, _)| origin.is_forked()) {
        *known = None;
    }
    known.get_or_insert_with(|| (Origin::here(), random_id())).1.clone()
}

/// Returns a random UUID (version 4). Its bits are hashes with the random keys that the standard library creates for hash maps.
fn random_id() -> String {
    let random = || RandomState::new().build_hasher().finish();
    let (high, low) = (random(), random());
    let (high, low) = ((high & !0xf000) | 0x4000, (low & !(0b11 << 62)) | (0b10 << 62));
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}
