use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use ratatui::style::Color;

use super::page::totals;
use super::screen::{Action, Screen};
use super::table::Table;

/// A page as a program of this crate has it, beside what another library may add.
fn page(calls: u64) -> String {
    let errors = calls / 4;
    format!(
        "# TYPE other summary\nother{{quantile=\"0.5\"}} 1 1700000000\n\
         # HELP llm_requests_total Calls.\n# TYPE llm_requests_total counter\n\
         llm_requests_total{{provider=\"gemini\",model=\"gemini-2.5-flash\"}} {calls}\n\
         llm_requests_total{{provider=\"openai\",model=\"gpt-4o-mini-with-a-name-that-is-longer-than-any-column\"}} 3\n\
         # TYPE llm_errors_total counter\n\
         llm_errors_total{{provider=\"gemini\",model=\"gemini-2.5-flash\",error_type=\"rate_limit\"}} {errors}\n\
         # TYPE llm_duration histogram\n\
         llm_duration_bucket{{provider=\"gemini\",model=\"gemini-2.5-flash\",le=\"1\"}} {calls}\n\
         llm_duration_bucket{{provider=\"gemini\",model=\"gemini-2.5-flash\",le=\"+Inf\"}} {calls}\n\
         llm_duration_sum{{provider=\"gemini\",model=\"gemini-2.5-flash\"}} 1.5\n\
         llm_duration_count{{provider=\"gemini\",model=\"gemini-2.5-flash\"}} {calls}\n\
         # TYPE llm_tokens_prompt_total counter\n\
         llm_tokens_prompt_total{{provider=\"gemini\",model=\"gemini-2.5-flash\"}} 1234567\n\
         # TYPE llm_cost_usd_total counter\n\
         llm_cost_usd_total{{provider=\"gemini\",model=\"gemini-2.5-flash\",outcome=\"success\"}} 1.25\n"
    )
}

fn screen(pages: &[u64], has_colours: bool) -> Screen {
    let mut screen = Screen::new("http://127.0.0.1:9464/metrics".to_owned(), has_colours);
    let start = Instant::now();
    for (index, calls) in pages.iter().enumerate() {
        screen.update(totals(&page(*calls)), start + Duration::from_secs(60 * index as u64));
    }
    screen
}

fn drawn(screen: &mut Screen, width: u16, height: u16) -> (String, Vec<Color>) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| screen.draw(frame)).expect("it draws");
    let buffer = terminal.backend().buffer();
    let line = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    let text = (0..height).map(line).collect::<Vec<_>>().join("\n");
    (text, buffer.content.iter().map(|cell| cell.fg).collect())
}

#[test]
fn page_of_any_program_is_a_table() {
    let table = Table::of(totals(&page(40)).expect("a page"));
    assert_eq!(
        table.to_string(),
        "PROVIDER  MODEL                                                   CALLS  ERRORS  ERR%    P50    P95  TOKENS   COST  RUN\n\
         gemini    gemini-2.5-flash                                           40      10  25.0  500ms  950ms   1.23M  $1.25    0\n\
         openai    gpt-4o-mini-with-a-name-that-is-longer-than-any-column      3       0   0.0      -      -       0      -    0"
    );
    let json = table.to_json("http://x/metrics");
    let gemini = &json["models"][0];
    assert_eq!(
        (gemini["calls"].as_u64(), gemini["errors"].as_u64(), gemini["cost_usd"].as_f64()),
        (Some(40), Some(10), Some(1.25))
    );
    assert!(totals("# TYPE up gauge\nup 1\n").is_err_and(|why| why.contains("no metrics of LLM calls")));
}

#[test]
fn everything_that_matters_fits_80_columns() {
    let (text, _) = drawn(&mut screen(&[10, 40], false), 80, 24);
    for part in [
        "CALLS▼",
        "ERRORS",
        "P50",
        "P95",
        "TOKENS",
        "COST",
        "RUN",
        "gemini-2.5-flash",
        "1.23M",
        "$1.25",
        "950ms",
        "live",
        "quit: q",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    assert!(!text.contains("/MIN"), "{text}");
    let (wide, _) = drawn(&mut screen(&[10, 40], false), 200, 50);
    for part in ["/MIN", "ERR%", "gpt-4o-mini-with-a-name-that-is-longer-than-any-column", "30"] {
        assert!(wide.contains(part), "{part}:\n{wide}");
    }
    for (width, height) in [(1, 1), (20, 5), (80, 3)] {
        drawn(&mut screen(&[10], true), width, height);
    }
}

#[test]
fn colours_are_left_out_where_nobody_wants_them() {
    let is_coloured = |has_colours| {
        let (_, colours) = drawn(&mut screen(&[40], has_colours), 80, 24);
        colours.iter().any(|colour| *colour != Color::Reset)
    };
    assert!(is_coloured(true) && !is_coloured(false));
}

#[test]
fn keys_sort_and_quit() {
    let mut screen = screen(&[1], false);
    let first = |screen: &mut Screen| drawn(screen, 120, 10).0.lines().nth(3).expect("a row").to_owned();
    assert!(first(&mut screen).contains("openai"));
    let press = |screen: &mut Screen, key: KeyCode| screen.press(KeyEvent::from(key));
    press(&mut screen, KeyCode::Char('t'));
    assert!(first(&mut screen).contains("gemini"));
    press(&mut screen, KeyCode::Char('r'));
    assert!(first(&mut screen).contains("openai"));
    for _ in 0..6 {
        press(&mut screen, KeyCode::Right);
    }
    for key in
        [KeyCode::Down, KeyCode::Down, KeyCode::Up, KeyCode::PageDown, KeyCode::PageUp, KeyCode::End, KeyCode::Home]
    {
        assert_eq!(press(&mut screen, key), Action::Continue);
        drawn(&mut screen, 80, 24);
    }
    assert_eq!(press(&mut screen, KeyCode::Char('q')), Action::Quit);
}

#[test]
fn program_that_is_away_or_restarted_is_said() {
    let mut screen = screen(&[40], false);
    screen.update(Err("connection refused".to_owned()), Instant::now());
    let (text, _) = drawn(&mut screen, 120, 10);
    assert!(text.contains("no answer for") && text.contains("connection refused") && text.contains("gemini"), "{text}");
    screen.update(totals(&page(2)), Instant::now() + Duration::from_secs(60));
    assert!(drawn(&mut screen, 120, 10).0.contains("restarted"));
}
