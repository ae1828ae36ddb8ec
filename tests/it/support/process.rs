//! What the system knows of a process, through `/proc`.

use std::fs;
use std::time::Duration;

/// Names of this process' threads that belong to the crate or to the span queue it uses, cut at 15 characters by the kernel.
pub fn own_threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc is there").flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).filter(|name| is_own(name)).collect()
}

fn is_own(name: &str) -> bool {
    name.starts_with("botticelli-obs") || name.starts_with("OpenTelemetry")
}

/// Resident memory of this process, in bytes.
pub fn resident_memory() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("/proc is there");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("statm has a second number");
    pages * 4096
}

/// Resident memory of another process, in bytes.
pub fn resident_memory_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("status has VmRSS");
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
}

/// Open file descriptors of a process.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs").count()
}

/// Time a process has spent on processors, in ticks of 10 ms.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let (_, fields) = stat.rsplit_once(')').expect("the program's name is in parentheses");
    let ticks = |index: usize| fields.split(' ').nth(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis(10 * (ticks(12) + ticks(13)))
}
