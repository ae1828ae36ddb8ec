//! Puts the results of the last run into the tables of `benches/README.md`.

#![expect(clippy::print_stdout, reason = "a program that talks to its user")]

mod markdown;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use markdown::{median, results};
use serde_json::Value;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

/// The limits of ratios: how many times slower than this crate a peer must be at least, and how many times slower than the floor
/// this crate may be.
const AT_LEAST: &[(&str, f64)] = &[("raw macros", 8.0), ("opentelemetry_sdk", 5.0), ("prometheus", 2.0)];
const FLOORS_AT_MOST: f64 = 5.0;

/// The maximum ratio to the floor where the pair changes with every call. On Intel it is 1.8.
const CHANGING_FLOORS_AT_MOST: f64 = 2.5;

/// The maximum time in nanoseconds of a call where nothing is installed.
const INERT_AT_MOST: f64 = 30.0;

/// Times in nanoseconds of one group, by name and by round.
struct Times(BTreeMap<String, Vec<f64>>);

impl Times {
    fn of(group: &str) -> Result<Self, Box<dyn Error>> {
        let mut times = BTreeMap::new();
        for function in
            fs::read_dir(results().join(group)).map_err(|error| format!("{group}: {error}: run it first"))?
        {
            let mut rounds: Vec<_> = fs::read_dir(function?.path())?.collect::<Result<_, _>>()?;
            // Rounds have numbers as names; criterion also writes `new` and `base`.
            rounds.retain(|round| round.file_name().to_string_lossy().parse::<u32>().is_ok());
            rounds.sort_by_key(fs::DirEntry::file_name);
            for round in rounds {
                let (name, time) = result(&round.path())?;
                times.entry(name).or_insert_with(Vec::new).push(time);
            }
        }
        Ok(Self(times))
    }

    /// Returns the median over the rounds.
    fn ns(&self, name: &str) -> Result<f64, String> {
        Ok(median(&mut self.rounds(name)?.to_vec()))
    }

    /// Returns the ratio of two times: the median over the ratios of each round, whose times were measured directly after each
    /// other.
    fn ratio(&self, name: &str, of: &str) -> Result<f64, String> {
        Ok(median(&mut self.rounds(name)?.iter().zip(self.rounds(of)?).map(|(a, b)| a / b).collect::<Vec<_>>()))
    }

    fn rounds(&self, name: &str) -> Result<&[f64], String> {
        self.0.get(name).map(Vec::as_slice).ok_or_else(|| format!("there is no result of `{name}`: run it first"))
    }

    /// Returns the names in the order of their times, the shortest first.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        names.sort_by(|a, b| self.ns(a).unwrap_or(f64::MAX).total_cmp(&self.ns(b).unwrap_or(f64::MAX)));
        names
    }
}

/// Returns the name and the median in nanoseconds of a benchmark.
fn result(round: &Path) -> Result<(String, f64), Box<dyn Error>> {
    let read =
        |file: &str| -> Result<Value, Box<dyn Error>> { Ok(serde_json::from_slice(&fs::read(round.join(file))?)?) };
    let name = read("benchmark.json")?["function_id"].as_str().ok_or("a benchmark without a name")?.to_owned();
    let time = read("estimates.json")?["median"]["point_estimate"].as_f64().ok_or("a benchmark without a median")?;
    Ok((name, time))
}

fn finished_call() -> Result<String, Box<dyn Error>> {
    let times = Times::of("finished_call")?;
    let mut table = "| who | ns a call | times ours | limit | |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for name in times.names() {
        let ratio = times.ratio(name, "ours")?;
        let (limit, met) = if let Some((_, least)) = AT_LEAST.iter().find(|(peer, _)| *peer == name) {
            (format!("at least {least}"), ratio >= *least)
        } else if name == "ours" {
            let floors = times.ratio(name, "floor")?;
            (format!("at most {FLOORS_AT_MOST} floors: {floors:.1}"), floors <= FLOORS_AT_MOST)
        } else {
            (String::new(), true)
        };
        let verdict = if limit.is_empty() { "" } else { verdict(met) };
        writeln!(table, "| {name} | {:.0} | {ratio:.2} | {limit} | {verdict} |", times.ns(name)?)?;
    }
    Ok(table)
}

fn pair_changing() -> Result<String, Box<dyn Error>> {
    let times = Times::of("pair_changing_every_call")?;
    let mut table = "| who | ns a call | times the floor | limit | |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for name in times.names() {
        let floors = times.ratio(name, "floor")?;
        let (limit, verdict) = match name {
            "ours" => (format!("at most {CHANGING_FLOORS_AT_MOST}"), verdict(floors <= CHANGING_FLOORS_AT_MOST)),
            _ => (String::new(), ""),
        };
        writeln!(table, "| {name} | {:.0} | {floors:.2} | {limit} | {verdict} |", times.ns(name)?)?;
    }
    Ok(table)
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**missed**" }
}

fn whole_call() -> Result<String, Box<dyn Error>> {
    let times = Times::of("whole_call")?;
    let mut table = "| state | ns a call | limit | |\n| --- | --- | --- | --- |\n".to_owned();
    for name in times.names() {
        let time = times.ns(name)?;
        let limit = match name {
            "ours, nothing installed" => format!("under {INERT_AT_MOST} | {}", verdict(time < INERT_AT_MOST)),
            _ => " | ".to_owned(),
        };
        writeln!(table, "| {name} | {time:.0} | {limit} |")?;
    }
    Ok(table)
}

fn stream() -> Result<String, Box<dyn Error>> {
    let times = Times::of("stream")?;
    let mut table = "| who | ns a chunk | times \"ours, guard\" |\n| --- | --- | --- |\n".to_owned();
    for name in times.names() {
        writeln!(table, "| {name} | {:.0} | {:.2} |", times.ns(name)? / 1e3, times.ratio(name, "ours, guard")?)?;
    }
    Ok(table)
}

fn labels() -> Result<String, Box<dyn Error>> {
    let times = Times::of("labels")?;
    let mut table = "| what | ns |\n| --- | --- |\n".to_owned();
    for name in times.0.keys() {
        writeln!(table, "| {} | {:.0} |", name.replace('/', ": "), times.ns(name)?)?;
    }
    Ok(table)
}

fn threads() -> Result<String, Box<dyn Error>> {
    let times = Times::of("threads")?;
    let names: Vec<(&str, &str)> = times.0.keys().filter_map(|name| name.split_once('/')).collect();
    let mut columns: Vec<&str> = names.iter().map(|(_, column)| *column).collect();
    columns.sort_unstable();
    columns.dedup();
    let mut rows: Vec<&str> = names.iter().map(|(row, _)| *row).collect();
    rows.dedup();
    let mut table =
        format!("| ns a call and thread | {} |\n|{}\n", columns.join(" | "), " --- |".repeat(columns.len() + 1));
    for row in rows {
        let cells: Result<Vec<String>, String> =
            columns.iter().map(|column| Ok(format!("{:.0}", times.ns(&format!("{row}/{column}"))?))).collect();
        writeln!(table, "| {row} | {} |", cells?.join(" | "))?;
    }
    Ok(table)
}

/// Reads the table of a program that does not use criterion.
fn kept(name: &str) -> Result<String, Box<dyn Error>> {
    Ok(fs::read_to_string(results().join(format!("{name}.md")))
        .map_err(|error| format!("{name}: {error}: run it first"))?)
}

/// Describes the run: time, commit, compiler, machine, rounds.
fn run() -> Result<String, Box<dyn Error>> {
    let first_line = |command: &mut Command| -> Result<String, Box<dyn Error>> {
        Ok(String::from_utf8(command.output()?.stdout)?.lines().next().unwrap_or_default().to_owned())
    };
    let date = first_line(Command::new("date").args(["-u", "+%F %H:%M UTC"]))?;
    let commit = first_line(Command::new("git").args(["rev-parse", "--short", "HEAD"]))?;
    let rustc = first_line(Command::new("rustc").arg("-V"))?;
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let models: Vec<&str> =
        cpus.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, m)| m).collect();
    let rounds = Times::of("finished_call")?.rounds("ours")?.len();
    let model = models.first().copied().unwrap_or("unknown");
    Ok(format!("Run of {date}: commit {commit}, {rustc}, {} x {model}, {rounds} rounds.\n", models.len()))
}

type Section = fn() -> Result<String, Box<dyn Error>>;

const SECTIONS: &[(&str, Section)] = &[
    ("run", run),
    ("finished_call", finished_call),
    ("pair_changing", pair_changing),
    ("whole_call", whole_call),
    ("stream", stream),
    ("threads", threads),
    ("labels", labels),
    ("flood", || kept("flood")),
    ("scrape", || kept("scrape")),
    ("scrape_load", || kept("scrape_load")),
    ("startup", || kept("startup")),
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut readme = fs::read_to_string(README)?;
    for (name, section) in SECTIONS {
        let beginning = format!("<!-- table: {name} -->\n");
        let start = readme.find(&beginning).ok_or_else(|| format!("the README has no {beginning}"))? + beginning.len();
        let end = start + readme[start..].find("<!-- end -->").ok_or("a table of the README has no end")?;
        readme.replace_range(start..end, &section()?);
    }
    fs::write(README, readme)?;
    println!("{README}");
    Ok(())
}
