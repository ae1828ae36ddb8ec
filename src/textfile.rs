//! The text file of short-lived programs: the sum of the totals of all runs, for node_exporter's textfile collector.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::snapshot::Snapshot;
use crate::{catalog, file};

/// The first line. A file that begins with another one was not written by this crate, so nothing is added to it.
const HEAD: &str = "# Totals over runs, added up by botticelli_obs. Written anew at the end of each run.";

/// The last line. A file without it is truncated.
const END: &str = "# EOF";

/// Metrics that describe the process. They are left out: each run would add a series that stays after the process has ended.
const PROCESS_INFO: &[&str] =
    &[catalog::TARGET_INFO.prometheus, catalog::BUILD_INFO.prometheus, catalog::PIPELINE_UP.prometheus];

fn describes_process(family: &str) -> bool {
    let mut process_metrics = catalog::METRICS.iter().filter(|metric| metric.is_of_process());
    PROCESS_INFO.contains(&family) || process_metrics.any(|metric| metric.prometheus == family)
}

/// The pause between two attempts to take the lock.
const LOCK_INTERVAL: Duration = Duration::from_millis(10);

/// In bytes. The totals of a thousand models have about a sixth of that.
const LARGEST: u64 = 64 * 1024 * 1024;

/// The text file, which was readable, and its folder writable, when it was opened.
#[derive(Clone, Debug)]
pub(crate) struct TextFile {
    path: PathBuf,
}

impl TextFile {
    /// Checks that the totals of a run can be added later, so that a wrong path is an error at the start of the program.
    ///
    /// # Errors
    ///
    /// When the folder is missing or not writable, an existing file was not written by this crate, or it is not a regular file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let place = Place::of(path)?;
        place.lock_file()?;
        place.read()?;
        Ok(Self { path: path.to_owned() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds the totals of a run to the file. Waits until the deadline for other runs that hold the lock.
    ///
    /// The file is replaced atomically: it has either the old totals, or the old ones and those of this run. If the path is a link,
    /// the file that it leads to is replaced.
    ///
    /// # Errors
    ///
    /// When the file was not written by this crate or is not writable, or another run holds the lock until the deadline.
    pub(crate) fn add(&self, mut run: Snapshot, deadline: Instant) -> io::Result<()> {
        run.families.retain(|family| !describes_process(&family.about.name));
        let place = Place::of(&self.path)?;
        // Held until this function returns. The system releases it when the process is killed.
        let _lock = place.lock(deadline)?;
        let mut total = place.read()?;
        total.add(run).map_err(|name| {
            unusable(&format!("{name} has another kind there, maybe from another version of the program"))
        })?;
        place.replace(&format!("{HEAD}\n{}{END}\n", total.to_text()))
    }

    /// Returns the number of metrics in a file; 0 if it does not exist.
    ///
    /// # Errors
    ///
    /// When the file can't be read, or was not written by this crate.
    #[cfg(feature = "cli")]
    pub(crate) fn families(path: &Path) -> io::Result<usize> {
        Ok(Place::of(path)?.read()?.families.len())
    }
}

/// The path of the file itself, which is not a link.
struct Place(PathBuf);

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        file::resolve(path).map(Self)
    }

    fn lock_file(&self) -> io::Result<File> {
        // The lock file is never removed: a run that waits for it would then lock a deleted file, and another run a new one.
        file::open(File::options().create(true).append(true), &self.with_ending("lock"))
    }

    fn lock(&self, deadline: Instant) -> io::Result<File> {
        let file = self.lock_file()?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(LOCK_INTERVAL),
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "another run holds its lock"));
                }
            }
        }
    }

    fn read(&self) -> io::Result<Snapshot> {
        let text = match file::read(&self.0, LARGEST) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| unusable("it is not UTF-8"))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Snapshot::default()),
            Err(error) => return Err(error),
        };
        // An administrator may create an empty file to set its owner and permissions.
        if text.trim().is_empty() {
            return Ok(Snapshot::default());
        }
        let body = text.strip_prefix(HEAD).ok_or_else(|| unusable("its first line is not that of botticelli_obs"))?;
        let body = body.trim_end().strip_suffix(END).ok_or_else(|| unusable("its end is missing"))?;
        Snapshot::parse(body).map_err(|why| unusable(&why))
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        if text.len() as u64 > LARGEST {
            return Err(unusable(&format!("it would have more than {LARGEST} bytes")));
        }
        // All runs use one name, so that the next run removes what a killed one has left. The name does not end in `.prom`, so that
        // the collector ignores the file.
        let temporary = self.with_ending("tmp");
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::create_new(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        if let Ok(metadata) = fs::metadata(&self.0) {
            fs::set_permissions(&temporary, metadata.permissions())?;
        }
        fs::rename(&temporary, &self.0)?;
        // The rename is durable only after the folder is synced.
        #[cfg(unix)]
        File::open(self.folder())?.sync_all()?;
        Ok(())
    }

    #[cfg(unix)]
    fn folder(&self) -> &Path {
        self.0.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// Returns the path of a file beside this one, with an ending appended.
    fn with_ending(&self, ending: &str) -> PathBuf {
        let mut path = self.0.clone().into_os_string();
        path.push(".");
        path.push(ending);
        path.into()
    }
}

fn unusable(why: &str) -> io::Error {
    let message = format!("the file there can't be added to, {why}: move it away, and a new one is created");
    io::Error::new(io::ErrorKind::InvalidData, message)
}
