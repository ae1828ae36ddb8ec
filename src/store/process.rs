//! The process metrics, which are read from the system when a snapshot is taken.

use super::Store;
use crate::catalog::{self, METRICS, Metric};
use crate::snapshot::{Family, Labels, Value, Values};

/// The values that were read. `None` if the system does not tell a value.
#[derive(Clone, Debug, Default, PartialEq)]
struct Process {
    /// In microseconds.
    cpu: Option<u64>,
    resident_memory: Option<u64>,
    virtual_memory: Option<u64>,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
    /// In seconds since 1970.
    start_time: Option<f64>,
    threads: Option<u64>,
}

impl Process {
    /// Returns each metric of the process with its value.
    fn values(&self) -> [(Metric, Option<Value<'static>>); 7] {
        let gauge = |value: Option<u64>| value.map(|value| Value::Gauge(value as f64));
        [
            (catalog::PROCESS_CPU, self.cpu.map(Value::Counter)),
            (catalog::PROCESS_RESIDENT_MEMORY, gauge(self.resident_memory)),
            (catalog::PROCESS_VIRTUAL_MEMORY, gauge(self.virtual_memory)),
            (catalog::PROCESS_OPEN_FDS, gauge(self.open_fds)),
            (catalog::PROCESS_MAX_FDS, gauge(self.max_fds)),
            (catalog::PROCESS_START_TIME, self.start_time.map(Value::Gauge)),
            (catalog::PROCESS_THREADS, gauge(self.threads)),
        ]
    }
}

impl Store {
    /// Appends the values of the process to its families.
    pub(super) fn push_process(&self, families: &mut [Family]) {
        let is_wanted = |metric: &Metric| !self.config.is_excluded(metric);
        if METRICS.iter().any(|metric| metric.is_of_process() && is_wanted(metric)) {
            let global = self.config.global_labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            push(&read(), is_wanted, &Labels::from_iter(global), families);
        }
    }
}

fn push(process: &Process, is_wanted: impl Fn(&Metric) -> bool, labels: &Labels, families: &mut [Family]) {
    for (metric, value) in process.values().into_iter().filter(|(metric, _)| is_wanted(metric)) {
        let family = &mut families[catalog::place(&metric)];
        match (&mut family.values, value) {
            (Values::Counters { counts, .. }, Some(Value::Counter(count))) => counts.push(count),
            (Values::Gauges(values), Some(Value::Gauge(value))) => values.push(value),
            _ => continue,
        }
        family.labels.push(labels.clone());
    }
}

#[cfg(any(target_os = "android", target_os = "linux"))]
fn read() -> Process {
    linux::read(std::path::Path::new("/proc/self"))
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn read() -> Process {
    Process::default()
}

#[cfg(any(target_os = "android", target_os = "linux"))]
mod linux {
    use std::path::Path;
    use std::sync::OnceLock;
    use std::{fs, io, panic};

    use procfs::process::{LimitValue, Limits, Stat};
    use procfs::{FromRead, ProcResult};

    use super::Process;

    /// Reads the folder of a process, such as `/proc/self`.
    pub(super) fn read(folder: &Path) -> Process {
        // `procfs` panics if a line of these files is too short.
        let of_stat = panic::catch_unwind(|| of_stat(folder)).ok().and_then(Result::ok);
        let max_fds = panic::catch_unwind(|| max_fds(folder)).ok().and_then(Result::ok);
        Process { open_fds: open_fds(folder).ok(), max_fds: max_fds.flatten(), ..of_stat.unwrap_or_default() }
    }

    fn of_stat(folder: &Path) -> ProcResult<Process> {
        let stat = Stat::from_file(folder.join("stat"))?;
        let ticks = procfs::ticks_per_second().max(1);
        let in_micros = |time: u64| u64::try_from(u128::from(time) * 1_000_000 / u128::from(ticks)).ok();
        Ok(Process {
            cpu: stat.utime.checked_add(stat.stime).and_then(in_micros),
            resident_memory: stat.rss.checked_mul(procfs::page_size()),
            virtual_memory: Some(stat.vsize),
            start_time: boot_time().map(|boot| boot as f64 + stat.starttime as f64 / ticks as f64),
            threads: u64::try_from(stat.num_threads).ok(),
            ..Process::default()
        })
    }

    /// Returns the time when the system was booted. It is read once: the kernel computes it from the clock, so it may change by a
    /// second, and a changed start time of the process would look like a restart.
    fn boot_time() -> Option<u64> {
        static BOOT_TIME: OnceLock<u64> = OnceLock::new();
        match BOOT_TIME.get() {
            Some(time) => Some(*time),
            None => procfs::boot_time_secs().ok().map(|time| *BOOT_TIME.get_or_init(|| time)),
        }
    }

    /// Counts the open descriptors. `procfs` would also count those that it opens itself, and `.` and `..` before Linux 6.2.
    fn open_fds(folder: &Path) -> io::Result<u64> {
        let all = fs::read_dir(folder.join("fd"))?.try_fold(0_u64, |count, entry| entry.map(|_| count + 1))?;
        // Without the descriptor of the folder that is read here.
        Ok(all.saturating_sub(1))
    }

    fn max_fds(folder: &Path) -> ProcResult<Option<u64>> {
        Ok(match Limits::from_file(folder.join("limits"))?.max_open_files.soft_limit {
            LimitValue::Value(limit) => Some(limit),
            LimitValue::Unlimited => None,
        })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::super::{Config, Pattern};
    use super::*;
    use crate::snapshot::{Format, Snapshot};

    /// A snapshot of nothing but a process.
    fn snapshot(process: &Process) -> Snapshot {
        let store = Store::new(&Config::default(), Vec::new());
        let admitted = store.admitted.read().expect("nothing has panicked");
        let family = |of: &super::super::family::Family| Family::new(Arc::clone(&of.about), Arc::default());
        let mut families: Vec<Family> = admitted.families.iter().map(family).collect();
        push(process, |_| true, &Labels::from_iter([("bot", "a")]), &mut families);
        families.retain(|family| family.len() > 0);
        Snapshot { families }
    }

    fn process() -> Process {
        Process {
            cpu: Some(12_050_000),
            resident_memory: Some(65_536),
            open_fds: Some(7),
            start_time: Some(1_764_000_000.25),
            ..Process::default()
        }
    }

    #[test]
    fn openmetrics_has_fractions_and_the_family_of_the_counter_without_its_suffix() {
        let page = snapshot(&process()).to_page(Format::OpenMetrics);
        let page = String::from_utf8(page).expect("it is text");
        let expected = "\
            # HELP process_cpu_seconds Total user and system CPU time spent in seconds.\n\
            # TYPE process_cpu_seconds counter\n\
            process_cpu_seconds_total{bot=\"a\"} 12.05\n\
            # HELP process_resident_memory_bytes Resident memory size in bytes.\n\
            # TYPE process_resident_memory_bytes gauge\n\
            process_resident_memory_bytes{bot=\"a\"} 65536\n\
            # HELP process_open_fds Number of open file descriptors.\n\
            # TYPE process_open_fds gauge\n\
            process_open_fds{bot=\"a\"} 7\n\
            # HELP process_start_time_seconds Start time of the process since unix epoch in seconds.\n\
            # TYPE process_start_time_seconds gauge\n\
            process_start_time_seconds{bot=\"a\"} 1764000000.25\n\
            # EOF\n";
        assert_eq!(page, expected);
    }

    #[test]
    fn fractions_of_two_pages_add_up_exactly() {
        let text = snapshot(&process()).to_text();
        let mut total = Snapshot::parse(&text).expect("it is a page");
        assert_eq!(total.to_text(), text);
        let later = Process { cpu: Some(123_456), ..Process::default() };
        total.add(snapshot(&later)).expect("the kinds are the same");
        assert!(total.to_text().contains("\nprocess_cpu_seconds_total{bot=\"a\"} 12.173456\n"), "{}", total.to_text());
        let since = total.since(&Snapshot::parse(&text).expect("it is a page"));
        assert!(since.to_text().contains("\nprocess_cpu_seconds_total{bot=\"a\"} 0.123456\n"), "{}", since.to_text());
    }

    #[test]
    fn what_is_excluded_is_not_read() {
        let of_config = |patterns: &[&str]| {
            let exclude = patterns.iter().map(|pattern| pattern.parse::<Pattern>().expect("a pattern")).collect();
            let store = Store::new(&Config { exclude, ..Config::default() }, Vec::new());
            let families = store.snapshot().families.into_iter().map(|family| family.about.name.to_string());
            families.filter(|name| name.starts_with("process_")).collect::<Vec<_>>()
        };
        assert_eq!(of_config(&[]).len(), 7);
        assert_eq!(
            of_config(&["process.*mem*", "process_*_fds"]),
            ["process_cpu_seconds_total", "process_start_time_seconds", "process_threads",]
        );
        assert!(of_config(&["process_*"]).is_empty());
    }

    #[test]
    fn every_series_has_the_labels_of_all_series() {
        let global_labels = vec![("bot".to_owned(), "a".to_owned())];
        let store = Store::new(&Config { global_labels, ..Config::default() }, Vec::new());
        assert!(store.snapshot().to_text().contains("\nprocess_threads{bot=\"a\"} "));
    }

    #[test]
    fn a_folder_that_is_missing_empty_or_wrong_has_no_samples() {
        let folder = std::env::temp_dir().join(format!("botticelli-obs-proc-{}", std::process::id()));
        assert_eq!(linux::read(&folder), Process::default());
        fs::create_dir(&folder).expect("it can be made");
        for text in
            ["", "(", "1 (a)", "1 (a) ", "1 (a) R 1", "\u{fffd}\0", "1 (a) R -1 -1 x y z", "Limit\nMax open files"]
        {
            for file in ["stat", "limits"] {
                fs::write(folder.join(file), text).expect("it can be written");
            }
            assert_eq!(linux::read(&folder), Process::default(), "{text:?}");
        }
        fs::remove_dir_all(&folder).expect("it can be removed");
    }

    #[test]
    fn a_limit_that_is_none_and_a_name_with_brackets_are_read() {
        let folder = std::env::temp_dir().join(format!("botticelli-obs-limits-{}", std::process::id()));
        fs::create_dir(&folder).expect("it can be made");
        let limits = fs::read_to_string("/proc/self/limits").expect("there is /proc");
        let no_limit: Vec<String> = limits
            .lines()
            .map(|line| match line.starts_with("Max open files") {
                true => format!("{:<26}{:<21}{:<21}files", "Max open files", "unlimited", "unlimited"),
                false => line.to_owned(),
            })
            .collect();
        fs::write(folder.join("limits"), no_limit.join("\n")).expect("it can be written");
        let stat = fs::read_to_string("/proc/self/stat").expect("there is /proc");
        let (pid, rest) = (std::process::id(), &stat[stat.rfind(')').expect("it has a name")..]);
        fs::write(folder.join("stat"), format!("{pid} (bot (1) x{rest}")).expect("it can be written");
        let process = linux::read(&folder);
        assert_eq!((process.max_fds, process.open_fds), (None, None));
        assert!(process.threads.is_some_and(|threads| threads > 0) && process.cpu.is_some(), "{process:?}");
        fs::remove_dir_all(&folder).expect("it can be removed");
    }
}
