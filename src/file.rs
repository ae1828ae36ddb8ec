//! The files that settings name. They are regular files: reading a device or a named pipe may never end, or wait for a writer, and
//! writing one would replace it.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The maximum number of links from one to the next, as on Linux.
const MAX_LINKS: usize = 40;

/// Reads a file of at most `limit` bytes. Links are followed.
///
/// # Errors
///
/// When the file is not a regular one, is larger, or can't be read.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open(File::options().read(true), path)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {limit} bytes")));
    }
    Ok(bytes)
}

/// Opens a file. Links are followed.
///
/// # Errors
///
/// When there is something else than a regular file, or the system's error.
pub(crate) fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // Before it is opened, since that alone may do something to a device. A pipe that takes its place then is opened without
    // waiting, and refused by the second check.
    check(path)?;
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_NONBLOCK);
    let file = options.open(path)?;
    check_kind(&file.metadata()?)?;
    Ok(file)
}

/// Checks that there is a regular file, or nothing. Links are followed.
///
/// # Errors
///
/// When there is something else, which the error names.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    path.metadata().map_or(Ok(()), |metadata| check_kind(&metadata))
}

fn check_kind(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let message = format!("it is {}, not a regular file", kind(metadata));
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;

        if kind.is_fifo() {
            return "a named pipe";
        } else if kind.is_socket() {
            return "a socket";
        } else if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    if kind.is_dir() { "a folder" } else { "something else" }
}

/// Follows links to the file itself, which need not exist. Whatever replaces a file by its path would replace a link instead.
///
/// # Errors
///
/// When a link can't be read, or links lead in a circle.
pub(crate) fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..=MAX_LINKS {
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_symlink() => {
                let target = fs::read_link(&path)?;
                path = path.parent().unwrap_or(Path::new("")).join(target);
            }
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "its links lead in a circle"))
}

/// Returns a path as text for errors and log lines: without control characters, and not longer than a line.
pub(crate) fn shown(path: &Path) -> String {
    const LONGEST: usize = 300;

    let mut shown = String::new();
    for char in path.to_string_lossy().chars().take(LONGEST) {
        match char {
            '\\' | '"' | '\'' => shown.push(char),
            char => shown.extend(char.escape_debug()),
        }
    }
    shown
}
