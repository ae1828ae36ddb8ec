//! The screen: a line about the program, the table, a line about the keys.

use std::time::Instant;

use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Cell, Paragraph, Row as Line_, Table as Widget, TableState};

use super::table::{COLUMNS, FIRST_NUMBER, Row, Sort, Table};
use crate::totals::Totals;

/// For how many pages it is said that the program was restarted.
const RESTART_SHOWN: u8 = 10;

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Continue,
    Quit,
}

#[derive(Debug)]
pub(super) struct Screen {
    url: String,
    has_colours: bool,
    table: Table,
    /// When the table was read.
    read: Option<Instant>,
    /// Why the last page could not be read.
    error: Option<String>,
    /// For how many more pages it is said that the program was restarted.
    restarted: u8,
    sort: Sort,
    is_reversed: bool,
    selected: TableState,
}

impl Screen {
    pub(super) fn new(url: String, has_colours: bool) -> Self {
        Self {
            url,
            has_colours,
            table: Table::default(),
            read: None,
            error: None,
            restarted: 0,
            sort: Sort::default(),
            is_reversed: false,
            selected: TableState::default(),
        }
    }

    /// Takes what was read. After a failure the earlier numbers stay.
    pub(super) fn update(&mut self, read: Result<Totals, String>, now: Instant) {
        match read {
            Ok(totals) => {
                let mut table = Table::of(totals);
                if let Some(before) = self.read {
                    let minutes = (now - before).as_secs_f64().max(0.001) / 60.0;
                    let is_restarted = table.compare_with(&self.table, minutes);
                    self.restarted = if is_restarted { RESTART_SHOWN } else { self.restarted.saturating_sub(1) };
                }
                table.sort(self.sort, self.is_reversed);
                (self.table, self.read, self.error) = (table, Some(now), None);
            }
            Err(error) => self.error = Some(error),
        }
    }

    pub(super) fn press(&mut self, key: KeyEvent) -> Action {
        let last = self.table.rows.len().saturating_sub(1);
        let at = self.selected.selected();
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Action::Quit,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Action::Quit,
            KeyCode::Char('n') => self.sort_by(Sort::Name),
            KeyCode::Char('c') => self.sort_by(Sort::Calls),
            KeyCode::Char('e') => self.sort_by(Sort::Errors),
            KeyCode::Char('p') => self.sort_by(Sort::P95),
            KeyCode::Char('t') => self.sort_by(Sort::Tokens),
            KeyCode::Char('s' | '$') => self.sort_by(Sort::Spend),
            KeyCode::Right | KeyCode::Left | KeyCode::Tab => {
                let place = Sort::ALL.iter().position(|sort| *sort == self.sort).unwrap_or(0);
                let step = if key.code == KeyCode::Left { Sort::ALL.len() - 1 } else { 1 };
                self.sort_by(Sort::ALL[(place + step) % Sort::ALL.len()]);
            }
            KeyCode::Char('r') => {
                self.is_reversed = !self.is_reversed;
                self.table.sort(self.sort, self.is_reversed);
            }
            KeyCode::Down | KeyCode::Char('j') => self.selected.select(Some(at.map_or(0, |at| (at + 1).min(last)))),
            KeyCode::Up | KeyCode::Char('k') => self.selected.select(at.map(|at| at.saturating_sub(1))),
            KeyCode::PageDown => self.selected.select(Some((at.unwrap_or(0) + 10).min(last))),
            KeyCode::PageUp => self.selected.select(at.map(|at| at.saturating_sub(10))),
            KeyCode::Home => self.selected.select_first(),
            KeyCode::End => self.selected.select(Some(last)),
            _ => {}
        }
        Action::Continue
    }

    fn sort_by(&mut self, sort: Sort) {
        if self.sort == sort {
            self.is_reversed = !self.is_reversed;
        } else {
            (self.sort, self.is_reversed) = (sort, false);
        }
        self.table.sort(self.sort, self.is_reversed);
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let [head, body, keys] =
            Layout::vertical([Constraint::Length(2), Constraint::Min(1), Constraint::Length(1)]).areas(frame.area());
        frame.render_widget(Paragraph::new(self.head()), head);
        self.draw_table(frame, body);
        let keys_text = " sort: n c e p t s   reverse: r   move: ↑ ↓   quit: q";
        frame.render_widget(Paragraph::new(keys_text).style(Style::new().add_modifier(Modifier::DIM)), keys);
    }

    fn head(&self) -> Text<'_> {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let state = match (&self.error, self.read) {
            (Some(error), Some(read)) => Span::styled(
                format!("no answer for {} s: {error}", read.elapsed().as_secs()),
                self.coloured(Color::Red).patch(bold),
            ),
            (Some(error), None) => Span::styled(error.clone(), self.coloured(Color::Red).patch(bold)),
            (None, None) => Span::raw("waiting for the page"),
            (None, Some(_)) if self.restarted > 0 => {
                Span::styled("the program was restarted", self.coloured(Color::Yellow))
            }
            (None, Some(_)) => Span::styled("live", self.coloured(Color::Green)),
        };
        let first = Line::from(vec![Span::styled(" LLM calls ", bold), Span::raw(&self.url), Span::raw("  "), state]);
        let sum = self.table.all.as_ref().map_or_else(String::new, |all| {
            let [_, _, calls, rate, errors, _, p50, p95, tokens, cost, running] = all.cells();
            format!(
                " {calls} calls, {rate}/min, {errors} errors, p50 {p50}, p95 {p95}, {tokens} tokens, {cost}, {running} running"
            )
        });
        Text::from(vec![first, Line::from(sum)])
    }

    fn draw_table(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let columns: Vec<usize> = (0..COLUMNS.len()).filter(|column| area.width >= COLUMNS[*column].1).collect();
        let cells: Vec<[String; COLUMNS.len()]> = self.table.rows.iter().map(Row::cells).collect();
        let width = |column: usize| {
            let longest = cells.iter().map(|cells| Span::raw(cells[column].as_str()).width()).max().unwrap_or(0);
            longest.max(COLUMNS[column].0.len() + 1) as u16
        };
        let fixed: u16 = columns.iter().skip(FIRST_NUMBER).map(|column| width(*column) + 1).sum();
        let names = area.width.saturating_sub(fixed + 3);
        let provider = width(0).min(names / 3).max(8);
        let widths = columns.iter().map(|column| match column {
            0 => Constraint::Length(provider),
            1 => Constraint::Length(width(1).min(names.saturating_sub(provider)).max(6)),
            _ => Constraint::Length(width(*column)),
        });
        let sorted = match self.sort {
            Sort::Name => "PROVIDER",
            Sort::Calls => "CALLS",
            Sort::Errors => "ERRORS",
            Sort::P95 => "P95",
            Sort::Tokens => "TOKENS",
            Sort::Spend => "COST",
        };
        let title = |column: &usize| {
            let (title, _) = COLUMNS[*column];
            let mark = if title != sorted {
                ""
            } else if self.is_reversed != (self.sort == Sort::Name) {
                "▲"
            } else {
                "▼"
            };
            aligned(*column, format!("{title}{mark}"))
        };
        let head = Line_::new(columns.iter().map(title)).style(Style::new().add_modifier(Modifier::REVERSED));
        let rows = cells.iter().zip(&self.table.rows).map(|(cells, row)| {
            Line_::new(columns.iter().map(|column| {
                let cell = aligned(*column, cells[*column].clone());
                if COLUMNS[*column].0 == "ERRORS" && row.errors > 0 {
                    cell.style(self.coloured(Color::Red).add_modifier(Modifier::BOLD))
                } else {
                    cell
                }
            }))
        });
        let table = Widget::new(rows, widths)
            .header(head)
            .column_spacing(1)
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        frame.render_stateful_widget(table, area, &mut self.selected);
    }

    fn coloured(&self, colour: Color) -> Style {
        if self.has_colours { Style::new().fg(colour) } else { Style::new() }
    }
}

fn aligned(column: usize, text: String) -> Cell<'static> {
    let alignment = if column < FIRST_NUMBER { Alignment::Left } else { Alignment::Right };
    Cell::new(Line::from(text).alignment(alignment))
}
