//! The text file of short-lived programs: totals that add up over runs, for node_exporter's textfile collector.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::catalog;
use crate::snapshot::Snapshot;

/// The first line, by which a file is known to be ours.
const HEAD: &str = "# Totals over runs, added up by botticelli_obs. Written anew at the end of each run.";

/// The last line: a file without it has been cut off.
const END: &str = "# EOF";

/// What describes a process and not what it has done: such gauges would outlive it in the file, a series a run.
const OF_THE_PROCESS: &[&str] =
    &[catalog::TARGET_INFO.prometheus, catalog::BUILD_INFO.prometheus, catalog::PIPELINE_UP.prometheus];

fn is_of_the_process(family: &str) -> bool {
    let mut read_from_the_system = catalog::METRICS.iter().filter(|metric| metric.is_of_process());
    OF_THE_PROCESS.contains(&family) || read_from_the_system.any(|metric| metric.prometheus == family)
}

/// How often a lock is tried for that another run holds.
const LOCK_INTERVAL: Duration = Duration::from_millis(10);

/// A file that can be written, as far as was seen when it was opened.
#[derive(Clone, Debug)]
pub(crate) struct TextFile {
    path: PathBuf,
}

impl TextFile {
    /// Checks that the totals of a run can be added later: a program learns of a wrong path at its start.
    ///
    /// # Errors
    ///
    /// When the folder is missing or can't be written, or the file is there and not ours.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = Self { path: path.to_owned() };
        file.lock_file()?;
        file.read()?;
        Ok(file)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds the totals of a run, waiting for other runs until the deadline.
    ///
    /// Whatever happens, the file has either the totals of before or those with the run's: it is replaced in one step.
    ///
    /// # Errors
    ///
    /// When the file is not ours or can't be written, or another run holds the lock for too long.
    pub(crate) fn add(&self, mut run: Snapshot, deadline: Instant) -> io::Result<()> {
        run.families.retain(|family| !is_of_the_process(&family.about.name));
        // Held until the end, and given back by the system when the process is killed.
        let _lock = self.lock(deadline)?;
        let mut total = self.read()?;
        total.add(run).map_err(|name| {
            foreign(&format!("{name} is of another kind there, as of another version of the program"))
        })?;
        self.replace(&format!("{HEAD}\n{}{END}\n", total.to_text()))
    }

    /// Returns how many metrics a file has, 0 if it is not there.
    ///
    /// # Errors
    ///
    /// When it can't be read, or is not ours.
    #[cfg(feature = "cli")]
    pub(crate) fn families(path: &Path) -> io::Result<usize> {
        Ok(Self { path: path.to_owned() }.read()?.families.len())
    }

    fn lock_file(&self) -> io::Result<File> {
        // Never removed: who waits for the lock of a removed file waits for nothing.
        File::options().create(true).append(true).open(self.beside("lock"))
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
        // Made empty by somebody who wanted an owner or permissions of his own.
        if text.trim().is_empty() {
            return Ok(Snapshot::default());
        }
        let body = text.strip_prefix(HEAD).ok_or_else(|| foreign("its first line is not that of botticelli_obs"))?;
        let body = body.trim_end().strip_suffix(END).ok_or_else(|| foreign("its end is missing"))?;
        Snapshot::parse(body).map_err(|why| foreign(&why))
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        // One name for every run: what a killed one leaves behind, the next one overwrites. Not `.prom`, so that nobody reads it.
        let draft = self.beside("tmp");
        let mut file = File::create(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        if let Ok(metadata) = fs::metadata(&self.path) {
            fs::set_permissions(&draft, metadata.permissions())?;
        }
        fs::rename(&draft, &self.path)?;
        // The new name is in the folder, which has to reach the disk too.
        #[cfg(unix)]
        File::open(self.folder())?.sync_all()?;
        Ok(())
    }

    #[cfg(unix)]
    fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".");
        path.push(ending);
        path.into()
    }
}

fn foreign(why: &str) -> io::Error {
    let message = format!("the file there can't be added to, {why}: move it away, and a new one is begun");
    io::Error::new(io::ErrorKind::InvalidData, message)
}
