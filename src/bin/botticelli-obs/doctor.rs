//! The command `doctor`.

use std::process::ExitCode;

use botticelli_obs::doctor::{Diagnosis, Finding, Verdict, doctor};

use crate::{has_colours, print};

/// Prints the findings in this form. The exit status is 1 if anything is broken.
pub fn examine(form: fn(&Diagnosis) -> String) -> ExitCode {
    let diagnosis = doctor();
    print(&form(&diagnosis));
    if diagnosis.is_healthy() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

pub fn in_lines(diagnosis: &Diagnosis) -> String {
    if !has_colours() {
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

pub fn in_json(diagnosis: &Diagnosis) -> String {
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
