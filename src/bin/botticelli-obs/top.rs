//! The command `top`.

use std::path::PathBuf;
use std::process::ExitCode;

use botticelli_obs::top::Top;

use crate::{has_colours, print, print_error};

/// Shows the table until the user quits, or prints it once. The exit status is 1 if the page can't be read.
pub fn show(url: &str, token_file: Option<PathBuf>, once: bool, json: bool) -> ExitCode {
    let variable = || std::env::var_os("BOTTICELLI_OBS_TOKEN_FILE").filter(|file| !file.is_empty()).map(PathBuf::from);
    let token_file = token_file.or_else(variable);
    let shown = Top::new(url, token_file.as_deref(), has_colours()).and_then(|top| match (json, once) {
        (true, _) => top.to_json().map(|text| print(&text)),
        (false, true) => top.to_text().map(|text| print(&text)),
        (false, false) => top.run(),
    });
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&format!("{url}: {error}"));
            ExitCode::FAILURE
        }
    }
}
