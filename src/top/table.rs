//! The table of models: its rows, their order, and their text.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Value as Json, json};

use crate::totals::{Model, Times, Totals};

/// By what rows are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    Name,
    #[default]
    Calls,
    Errors,
    P95,
    Tokens,
    Spend,
}

impl Sort {
    pub(super) const ALL: [Self; 6] = [Self::Name, Self::Calls, Self::Errors, Self::P95, Self::Tokens, Self::Spend];

    /// Compares two rows, the one to be first by default as the lesser one.
    fn compare(self, a: &Row, b: &Row) -> Ordering {
        let order = match self {
            Self::Name => Ordering::Equal,
            Self::Calls => b.calls.cmp(&a.calls),
            Self::Errors => b.errors.cmp(&a.errors),
            Self::P95 => b.p95.unwrap_or(-1.0).total_cmp(&a.p95.unwrap_or(-1.0)),
            Self::Tokens => b.tokens().cmp(&a.tokens()),
            Self::Spend => b.cost.cmp(&a.cost),
        };
        order.then_with(|| (&a.provider, &a.model).cmp(&(&b.provider, &b.model)))
    }
}

/// The calls of one model since the start of the program.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) provider: String,
    pub(super) model: String,
    pub(super) calls: u64,
    pub(super) errors: u64,
    pub(super) p50: Option<f64>,
    pub(super) p95: Option<f64>,
    pub(super) prompt: u64,
    pub(super) completion: u64,
    /// In nano-dollars.
    pub(super) cost: Option<u64>,
    pub(super) unpriced: u64,
    pub(super) in_flight: f64,
    /// Calls a minute, as of late.
    pub(super) rate: Option<f64>,
}

impl Row {
    fn of(totals: &Totals, model: &Model) -> Self {
        // A terminal would obey them.
        let shown = |text: &str| text.chars().filter(|c| !c.is_control()).collect();
        Self {
            provider: shown(model.provider()),
            model: shown(model.model()),
            calls: model.calls,
            errors: model.error_count(),
            p50: totals.quantile(Times::Durations, model, 0.5),
            p95: totals.quantile(Times::Durations, model, 0.95),
            prompt: model.prompt,
            completion: model.completion,
            cost: model.cost,
            unpriced: model.unpriced,
            in_flight: model.in_flight,
            rate: None,
        }
    }

    pub(super) fn tokens(&self) -> u64 {
        self.prompt.saturating_add(self.completion)
    }

    /// Returns the text of each column, in the order of [`COLUMNS`].
    pub(super) fn cells(&self) -> [String; COLUMNS.len()] {
        [
            self.provider.clone(),
            self.model.clone(),
            count(self.calls as f64),
            self.rate
                .map_or_else(|| "-".to_owned(), |rate| if rate < 9.95 { format!("{rate:.1}") } else { count(rate) }),
            count(self.errors as f64),
            if self.calls == 0 {
                "-".to_owned()
            } else {
                format!("{:.1}", 100.0 * self.errors as f64 / self.calls as f64)
            },
            seconds(self.p50),
            seconds(self.p95),
            count(self.tokens() as f64),
            self.cost_text(),
            count(self.in_flight),
        ]
    }

    fn cost_text(&self) -> String {
        match self.cost {
            Some(nano) => dollars(nano as f64 / 1e9),
            None if self.unpriced > 0 => "unknown".to_owned(),
            None => "-".to_owned(),
        }
    }
}

/// The titles of the columns, and the least width of the screen at which each is shown.
pub(super) const COLUMNS: [(&str, u16); 11] = [
    ("PROVIDER", 0),
    ("MODEL", 0),
    ("CALLS", 0),
    ("/MIN", 96),
    ("ERRORS", 0),
    ("ERR%", 88),
    ("P50", 0),
    ("P95", 0),
    ("TOKENS", 0),
    ("COST", 0),
    ("RUN", 80),
];

/// The column from which on text is at the right.
pub(super) const FIRST_NUMBER: usize = 2;

#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) rows: Vec<Row>,
    pub(super) all: Option<Row>,
}

impl Table {
    pub(super) fn of(totals: Totals) -> Self {
        let rows = totals.models.iter().map(|model| Row::of(&totals, model)).collect();
        let mut table = Self { rows, all: Some(Row::of(&totals, &totals.sum())) };
        table.sort(Sort::default(), false);
        table
    }

    pub(super) fn sort(&mut self, by: Sort, is_reversed: bool) {
        self.rows.sort_by(|a, b| if is_reversed { by.compare(b, a) } else { by.compare(a, b) });
    }

    /// Computes rates from an earlier table; returns whether the program was restarted since, as counts tell that have become less.
    pub(super) fn compare_with(&mut self, earlier: &Self, minutes: f64) -> bool {
        let mut is_restarted = false;
        let all = self.all.iter_mut().zip(&earlier.all);
        let find = |row: &Row| {
            earlier.rows.iter().find(|other| (&other.provider, &other.model) == (&row.provider, &row.model))
        };
        let pairs = self.rows.iter_mut().map(|row| (find(row), row)).chain(all.map(|(row, other)| (Some(other), row)));
        for (before, row) in pairs {
            let before = before.map_or(0, |before| before.calls);
            is_restarted |= row.calls < before;
            row.rate = row.calls.checked_sub(before).map(|calls| calls as f64 / minutes);
        }
        is_restarted
    }

    pub(super) fn to_json(&self, url: &str) -> Json {
        let row = |row: &Row| {
            json!({
                "provider": row.provider,
                "model": row.model,
                "calls": row.calls,
                "errors": row.errors,
                "p50_seconds": row.p50,
                "p95_seconds": row.p95,
                "prompt_tokens": row.prompt,
                "completion_tokens": row.completion,
                "cost_usd": row.cost.map(|nano| nano as f64 / 1e9),
                "calls_of_unknown_cost": row.unpriced,
                "in_flight": row.in_flight,
            })
        };
        json!({ "url": url, "models": self.rows.iter().map(row).collect::<Vec<_>>() })
    }
}

/// Writes all columns but the rate, as wide as the longest text of each.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const RATE: usize = 3;
        let mut lines = vec![COLUMNS.map(|(title, _)| title.to_owned())];
        lines.extend(self.rows.iter().map(Row::cells));
        let width = |column: usize| lines.iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
        for (index, cells) in lines.iter().enumerate() {
            let mut line = String::new();
            for (column, cell) in cells.iter().enumerate().filter(|(column, _)| *column != RATE) {
                let width = widths[column];
                line += &if column < FIRST_NUMBER { format!("{cell:<width$}  ") } else { format!("{cell:>width$}  ") };
            }
            let end = if index > 0 { "\n" } else { "" };
            write!(f, "{end}{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// At most five characters up to a trillion.
fn count(value: f64) -> String {
    let (value, unit) = match value {
        value if value < 100_000.0 => return format!("{value:.0}"),
        value if value < 999_500.0 => (value / 1e3, "k"),
        value if value < 999_500_000.0 => (value / 1e6, "M"),
        value => (value / 1e9, "G"),
    };
    if value < 9.995 {
        format!("{value:.2}{unit}")
    } else if value < 99.95 {
        format!("{value:.1}{unit}")
    } else {
        format!("{value:.0}{unit}")
    }
}

fn seconds(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 0.9995 => format!("{:.0}ms", value * 1e3),
        Some(value) if value < 99.5 => format!("{value:.2}s"),
        Some(value) => format!("{value:.0}s"),
    }
}

fn dollars(value: f64) -> String {
    if value == 0.0 || value >= 0.01 { format!("${value:.2}") } else { format!("${value:.4}") }
}
