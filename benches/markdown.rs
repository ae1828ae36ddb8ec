//! Tables of the programs that don't use criterion: printed, and stored beside criterion's results for `table`.
#![allow(dead_code, reason = "each program is a crate of its own and uses its part")]

use std::fmt::Write;
use std::path::PathBuf;

pub struct Table {
    name: &'static str,
    text: String,
}

impl Table {
    pub fn new(name: &'static str, columns: &[&str]) -> Self {
        let mut table = Self { name, text: String::new() };
        table.line(columns);
        table.line(&vec!["---"; columns.len()]);
        table
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.line(&cells.each_ref().map(String::as_str));
    }

    fn line(&mut self, cells: &[&str]) {
        writeln!(self.text, "| {} |", cells.join(" | ")).expect("text takes everything");
    }

    pub fn save(&self) {
        println!("{}", self.text);
        let path = results().join(format!("{}.md", self.name));
        std::fs::create_dir_all(results())
            .and_then(|()| std::fs::write(&path, &self.text))
            .expect("results can be kept");
    }
}

/// Returns the folder of results: `criterion` in the target directory of this program.
pub fn results() -> PathBuf {
    let program = std::env::current_exe().expect("the path of this program");
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists()).expect("built by cargo");
    target.join("criterion")
}

/// Sorts the values and returns the middle one.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns a value of this process' status in KiB, on Linux.
pub fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux, which tells");
    let value = status.lines().find_map(|found| found.strip_prefix(line)).expect("a line of that name");
    value.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}

/// Returns the cells of a row that another process has printed.
pub fn cells<const N: usize>(printed: &[u8]) -> [String; N] {
    let cells: Vec<String> = String::from_utf8_lossy(printed).trim().split(',').map(str::to_owned).collect();
    cells.try_into().expect("so many cells")
}
