//! Files that settings name.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::setting::{Parsed, Setting};
use crate::scrape::Token;

/// Far more than a token has.
const LARGEST_TOKEN: u64 = 4 * 1024;

impl Setting<'_> {
    /// The bytes of the file at this path, which is a regular one of at most `limit` bytes. Links are followed.
    ///
    /// A device or a pipe might never end, or wait for a writer.
    pub(super) fn read_file(self, limit: u64) -> io::Result<Vec<u8>> {
        let path = Path::new(self.value);
        // Before it is opened, since that alone may wait, and after it, since another one may be there by then.
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

    /// The token in the file at this path.
    ///
    /// Errors show neither: the token may stand where the path was meant to be.
    pub(super) fn token_file(self) -> Parsed<Token> {
        let bytes = self
            .read_file(LARGEST_TOKEN)
            .map_err(|error| self.invalid_secret(format!("the file it names can't be used: {error}")))?;
        // What is not UTF-8 is not ASCII either.
        let token = String::from_utf8_lossy(&bytes).parse();
        token.map_err(|why: String| self.invalid_secret(format!("the file it names can't be used: {why}")))
    }
}

fn check_is_file(metadata: &std::fs::Metadata) -> io::Result<()> {
    if metadata.is_file() { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")) }
}
