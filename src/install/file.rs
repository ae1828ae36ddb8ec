//! The files that are named by settings.

use std::io;
use std::path::{Path, PathBuf};

use super::setting::{Parsed, Setting};
use crate::file;
use crate::scrape::Token;

/// In bytes; far more than a token needs.
const LARGEST_TOKEN: u64 = 4 * 1024;

impl Setting<'_> {
    /// Reads the file at this path, which must be a regular file of at most `limit` bytes. Links are followed.
    pub(super) fn read_file(self, limit: u64) -> io::Result<Vec<u8>> {
        file::read(Path::new(self.value), limit)
    }

    /// Checks that there is a regular file at this path, or nothing. Links are followed.
    pub(super) fn path_of_file(self) -> Parsed<PathBuf> {
        let path = PathBuf::from(self.value);
        file::check(&path).map_err(|error| self.invalid(error))?;
        Ok(path)
    }

    /// Reads the token in the file at this path.
    ///
    /// Errors contain neither path nor token: the value may be the token itself instead of a path.
    pub(super) fn token_file(self) -> Parsed<Token> {
        let bytes = self
            .read_file(LARGEST_TOKEN)
            .map_err(|error| self.invalid_secret(format!("the file it names can't be used: {error}")))?;
        // Bytes that are not UTF-8 become characters that are not ASCII, which the token refuses.
        let token = String::from_utf8_lossy(&bytes).parse();
        token.map_err(|why: String| self.invalid_secret(format!("the file it names can't be used: {why}")))
    }
}
