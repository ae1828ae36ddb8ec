//! The program `botticelli-obs`: checks every step from a program to its dashboards, and writes the stack of servers for them.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use botticelli_obs::doctor::{Diagnosis, Finding, Verdict, doctor};
use include_dir::{Dir, File, include_dir};

static STACK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/examples/stack");

const USAGE: &str = "\
botticelli-obs doctor [--json]   checks every step from a program to its dashboards; run it in the program's environment
botticelli-obs stack DIR         writes Prometheus, Jaeger and Grafana, with dashboards and alerts, to a folder
botticelli-obs --version

The doctor also asks the servers at PROMETHEUS_URL, JAEGER_URL and GRAFANA_URL (default: their usual ports on localhost).
Its exit status is 1 if anything is broken.";

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["doctor"] => examine(in_lines),
        ["doctor", "--json"] => examine(in_json),
        ["stack", folder] => match write_stack(Path::new(folder)) {
            Ok(files) => {
                print(&format!("{files} files of botticelli_obs {} are in {folder}", env!("CARGO_PKG_VERSION")));
                ExitCode::SUCCESS
            }
            Err(error) => {
                print_error(&format!("nothing was written: {error}"));
                ExitCode::FAILURE
            }
        },
        ["--version" | "-V"] => {
            print(concat!("botticelli-obs ", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
        ["--help" | "-h" | "help"] => {
            print(USAGE);
            ExitCode::SUCCESS
        }
        _ => {
            print_error(USAGE);
            ExitCode::from(2)
        }
    }
}

// Not `println!`, which panics when the reader has closed the pipe.
fn print(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

fn print_error(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn examine(form: fn(&Diagnosis) -> String) -> ExitCode {
    let diagnosis = doctor();
    print(&form(&diagnosis));
    if diagnosis.is_healthy() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn in_lines(diagnosis: &Diagnosis) -> String {
    if !io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        return diagnosis.to_string();
    }
    let coloured = |finding: &Finding| {
        let colour = match finding.verdict {
            Verdict::Good => 32,
            Verdict::Broken => 31,
            _ => 33,
        };
        let line = finding.to_string();
        let (verdict, rest) = line.split_once(' ').unwrap_or((&line, ""));
        format!("\u{1b}[{colour}m{verdict}\u{1b}[0m {rest}")
    };
    diagnosis.findings().iter().map(coloured).collect::<Vec<_>>().join("\n")
}

fn in_json(diagnosis: &Diagnosis) -> String {
    let finding = |finding: &Finding| {
        serde_json::json!({
            "check": finding.check,
            "verdict": match finding.verdict {
                Verdict::Good => "good",
                Verdict::Broken => "broken",
                _ => "note",
            },
            "mistake": finding.mistake.map(|mistake| mistake.as_str()),
            "found": finding.found,
            "remedy": finding.remedy,
        })
    };
    let findings: Vec<serde_json::Value> = diagnosis.findings().iter().map(finding).collect();
    let json = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "healthy": diagnosis.is_healthy(),
        "findings": findings,
    });
    format!("{json:#}")
}

/// Writes the files of the stack and returns their number. If any file exists with other contents, nothing is written, because
/// somebody has changed it.
fn write_stack(folder: &Path) -> io::Result<usize> {
    let mut files = Vec::new();
    collect(&STACK, &mut files);
    let files: Vec<(PathBuf, &[u8])> =
        files.into_iter().map(|file| (folder.join(file.path()), file.contents())).collect();
    let differs = |(path, contents): &&(PathBuf, &[u8])| match fs::read(path) {
        Ok(existing) => existing != *contents,
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    };
    let changed: Vec<String> = files.iter().filter(differs).map(|(path, _)| path.display().to_string()).collect();
    if !changed.is_empty() {
        let message = format!("{} would be overwritten: move it away, or choose another folder", changed.join(", "));
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    for (path, contents) in &files {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, contents)?;
    }
    Ok(files.len())
}

fn collect<'a>(folder: &'a Dir<'a>, files: &mut Vec<&'a File<'a>>) {
    files.extend(folder.files());
    folder.dirs().for_each(|folder| collect(folder, files));
}
