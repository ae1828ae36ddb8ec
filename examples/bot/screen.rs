//! What the bot prints.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use crate::tally::{WIDTH, cut};

/// Standard output. Not `println!`, which panics when the reader has closed the pipe: the calls and their telemetry go on.
#[derive(Clone, Copy)]
pub struct Screen {
    /// Whether a line can be updated: on a terminal that knows escape sequences.
    pub is_live: bool,
}

/// Erases the rest of the line.
const ERASE: &str = "\x1b[K";

impl Screen {
    pub fn of_stdout() -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        Self { is_live: io::stdout().is_terminal() && !is_dumb }
    }

    /// Prints lines that stay.
    pub fn print(self, lines: impl fmt::Display) {
        let erase = if self.is_live { ERASE } else { "" };
        let _ = writeln!(io::stdout(), "{erase}{lines}");
    }

    /// Shows a line until the next one.
    pub fn show(self, line: &str) {
        if self.is_live {
            // Returns to the start of the line, so that a log line overwrites it.
            let _ = write!(io::stdout(), "{}{ERASE}\r", cut(line, WIDTH)).and_then(|()| io::stdout().flush());
        } else {
            self.print(line);
        }
    }
}
