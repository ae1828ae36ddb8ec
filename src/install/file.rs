//! Reads the files that are named by settings.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::setting::{Parsed, Setting};
use crate::scrape::Token;

/// In bytes; far more than a token needs.
const LARGEST_TOKEN: u64 = 4 * 1024;

impl Setting<'_> {
    /// Reads the file at this path, which must be a regular file of at most `limit` bytes. Links are followed.
    ///
    /// Devices and pipes are refused: reading them may never end, or wait for a writer.
    pub(super) fn read_file(self, limit: u64) -> io::Result<Vec<u8>> {
        let path = Path::new(self.value);
        // Checked before opening, since opening a pipe may block, and again after it, since the file may have been replaced.
        check_is_file(&path.metadata()?)?;
        let file = File::open(path)?;
        check_is_file(&file.metadata()?)?;
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("the file has more than {limit} bytes")));
        }
        Ok(bytes)
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

fn check_is_file(metadata: &std::fs::Metadata) -> io::Result<()> {
    if metadata.is_file() { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")) }
}
