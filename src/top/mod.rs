//! `botticelli-obs top`: what a program's calls do, in a terminal, from its page of metrics.
//!
//! It works with any program that has the metrics of this crate on a page, also one of version 0.1 and one without the console.

mod page;
mod screen;
mod table;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyEventKind};

use page::Page;
use screen::{Action, Screen};
use table::Table;

/// The time between two looks at the page.
const INTERVAL: Duration = Duration::from_secs(2);

/// How long the terminal is waited for, before it is checked whether there is a new page.
const TICK: Duration = Duration::from_millis(100);

/// A program whose page is looked at.
#[derive(Debug)]
pub struct Top {
    page: Page,
    has_colours: bool,
}

impl Top {
    /// Takes the URL of a page, such as `http://127.0.0.1:9464/metrics` or only `127.0.0.1:9464`, and a file with the token that it
    /// requires.
    ///
    /// # Errors
    ///
    /// When the URL or the token is invalid, the file can't be read, or the system's root certificates can't be read.
    pub fn new(url: &str, token_file: Option<&Path>, has_colours: bool) -> Result<Self, String> {
        Ok(Self { page: Page::new(url, token_file)?, has_colours })
    }

    /// Reads the page once and returns the table as text, as wide as it needs to be.
    ///
    /// # Errors
    ///
    /// When the page can't be read, or has no metrics of LLM calls.
    pub fn to_text(&self) -> Result<String, String> {
        Ok(Table::of(self.page.read()?).to_string())
    }

    /// Reads the page once and returns it as JSON.
    ///
    /// # Errors
    ///
    /// As [`to_text`](Self::to_text).
    pub fn to_json(&self) -> Result<String, String> {
        Ok(format!("{:#}", Table::of(self.page.read()?).to_json(self.page.url())))
    }

    /// Shows the table until the user quits.
    ///
    /// # Errors
    ///
    /// When there is no terminal.
    pub fn run(self) -> Result<(), String> {
        let mut screen = Screen::new(self.page.url().to_owned(), self.has_colours);
        let (pages, arriving) = mpsc::sync_channel(1);
        // Apart, so that keys work while a page does not come. The thread ends with the process.
        let reader = move || {
            while pages.send(self.page.read()).is_ok() {
                thread::sleep(INTERVAL);
            }
        };
        thread::Builder::new().name("page".to_owned()).spawn(reader).map_err(|error| error.to_string())?;
        let mut terminal = ratatui::try_init().map_err(|error| format!("no terminal: {error}"))?;
        let shown = (|| -> io::Result<()> {
            loop {
                while let Ok(read) = arriving.try_recv() {
                    screen.update(read, Instant::now());
                }
                terminal.draw(|frame| screen.draw(frame))?;
                if event::poll(TICK)?
                    && let Event::Key(key) = event::read()?
                    && key.kind == KeyEventKind::Press
                    && screen.press(key) == Action::Quit
                {
                    return Ok(());
                }
            }
        })();
        ratatui::restore();
        shown.map_err(|error| error.to_string())
    }
}
