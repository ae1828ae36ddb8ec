//! The text file of short-lived programs: the sum of the totals of all runs, for node_exporter's textfile collector.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::catalog;
use crate::snapshot::Snapshot;

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
    /// When the folder is missing or not writable, or an existing file was not written by this crate.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = Self { path: path.to_owned() };
        file.lock_file()?;
        file.read()?;
        Ok(file)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds the totals of a run to the file. Waits until the deadline for other runs that hold the lock.
    ///
    /// The file is replaced atomically: it has either the old totals, or the old ones and those of this run.
    ///
    /// # Errors
    ///
    /// When the file was not written by this crate or is not writable, or another run holds the lock until the deadline.
    pub(crate) fn add(&self, mut run: Snapshot, deadline: Instant) -> io::Result<()> {
        run.families.retain(|family| !describes_process(&family.about.name));
        // Held until this function returns. The system releases it when the process is killed.
        let _lock = self.lock(deadline)?;
        let mut total = self.read()?;
        total.add(run).map_err(|name| {
            unusable(&format!("{name} has another kind there, maybe from another version of the program"))
        })?;
        self.replace(&format!("{HEAD}\n{}{END}\n", total.to_text()))
    }

    /// Returns the number of metrics in a file; 0 if it does not exist.
    ///
    /// # Errors
    ///
    /// When the file can't be read, or was not written by this crate.
    #[cfg(feature = "cli")]
    pub(crate) fn families(path: &Path) -> io::Result<usize> {
        Ok(Self { path: path.to_owned() }.read()?.families.len())
    }

    fn lock_file(&self) -> io::Result<File> {
        // The lock file is never removed: a run that waits for it would then lock a deleted file, and another run a new one.
        File::options().create(true).append(true).open(self.with_ending("lock"))
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
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
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
        // All runs use one name, so that the next run overwrites what a killed one has left. The name does not end in `.prom`, so
        // that the collector ignores the file.
        let temporary = self.with_ending("tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        if let Ok(metadata) = fs::metadata(&self.path) {
            fs::set_permissions(&temporary, metadata.permissions())?;
        }
        fs::rename(&temporary, &self.path)?;
        // The rename is durable only after the folder is synced.
        #[cfg(unix)]
        File::open(self.folder())?.sync_all()?;
        Ok(())
    }

    #[cfg(unix)]
    fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// Returns the path of a file beside this one, with an ending appended.
    fn with_ending(&self, ending: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".");
        path.push(ending);
        path.into()
    }
}

fn unusable(why: &str) -> io::Error {
    let message = format!("the file there can't be added to, {why}: move it away, and a new one is created");
    io::Error::new(io::ErrorKind::InvalidData, message)
}
