//! The command `stack`: writes the files of `examples/stack`.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use include_dir::{Dir, File, include_dir};

static STACK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/examples/stack");

/// Writes the files of the stack and returns their number. Files that have the right contents already are left alone.
///
/// # Errors
///
/// When there is another file in the place of one, which is never overwritten, or the system refuses. The text says what was
/// written.
pub fn write(folder: &Path) -> Result<usize, String> {
    let mut files = Vec::new();
    collect(&STACK, &mut files);
    let (mut missing, mut in_the_way): (Vec<(PathBuf, &[u8])>, Vec<String>) = Default::default();
    for file in &files {
        let path = folder.join(file.path());
        match is_written(&path, file.contents()) {
            Ok(Some(true)) => {}
            Ok(Some(false)) => in_the_way.push(path.display().to_string()),
            Ok(None) => missing.push((path, file.contents())),
            Err(error) => return Err(format!("nothing was written: can't read {}: {error}", path.display())),
        }
    }
    if !in_the_way.is_empty() {
        let in_the_way = in_the_way.join(", ");
        return Err(format!(
            "nothing was written: {in_the_way} would be overwritten: move it away, or choose another folder"
        ));
    }
    for (index, (path, contents)) in missing.iter().enumerate() {
        if let Err(error) = write_new(path, contents) {
            let done = match index {
                0 => "nothing was written".to_owned(),
                _ => format!("{index} of {} files were written to {}", missing.len(), folder.display()),
            };
            let path = path.display();
            return Err(format!(
                "{done}: can't write {path}: {error}; run it again when this is mended: it goes on there"
            ));
        }
    }
    Ok(files.len())
}

/// Returns whether a file has these contents, or `None` if there is no such file.
fn is_written(path: &Path, contents: &[u8]) -> io::Result<Option<bool>> {
    match fs::symlink_metadata(path) {
        // Devices and pipes are not opened. A link may lead to a file.
        Ok(_) if fs::metadata(path).map_or(true, |found| !found.is_file()) => Ok(Some(false)),
        Ok(_) => {
            let mut found = Vec::new();
            fs::File::open(path)?.take(contents.len() as u64 + 1).read_to_end(&mut found)?;
            Ok(Some(found == contents))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a file that does not exist, whole or not at all.
fn write_new(path: &Path, contents: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = fs::File::create_new(path)?;
    let written = file.write_all(contents).and_then(|()| file.sync_all());
    if written.is_err() {
        // A file that was cut off would be taken for one that somebody has changed.
        let _ = fs::remove_file(path);
    }
    written
}

fn collect<'a>(folder: &'a Dir<'a>, files: &mut Vec<&'a File<'a>>) {
    files.extend(folder.files());
    folder.dirs().for_each(|folder| collect(folder, files));
}
