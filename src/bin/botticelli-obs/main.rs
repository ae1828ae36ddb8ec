//! The program `botticelli-obs`: checks every step from a program to its dashboards, shows its calls, and writes the stack of
//! servers for the dashboards.

mod doctor;
mod prices;
mod stack;
mod top;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Finds why dashboards stay empty, and writes the stack of servers for them.
#[derive(Parser)]
#[command(name = "botticelli-obs", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks every step from a program to its dashboards.
    #[command(after_help = "\
Run it in the environment of the program: it reads the same variables. It asks
the running program, its OTLP endpoints, and these servers:
  PROMETHEUS_URL  [default: http://localhost:9090]
  JAEGER_URL      [default: http://localhost:16686]
  GRAFANA_URL     [default: http://localhost:3000]

It changes nothing, prints no headers and no passwords, and takes at most 10
seconds. The exit status is 1 if anything is broken.")]
    Doctor {
        /// Print the findings as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows the calls of a program by model, and goes on showing them.
    #[command(after_help = "\
It reads the page of metrics of any program that has them, every two seconds.
Keys: n c e p t s sort by name, calls, errors, p95, tokens, spend; r reverses;
arrows move; q quits. NO_COLOR leaves out colours.")]
    Top {
        /// The page, or only its address or port.
        #[arg(value_name = "URL", default_value = "http://127.0.0.1:9464/metrics")]
        url: String,
        /// A file with the token of the page [default: BOTTICELLI_OBS_TOKEN_FILE].
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// Print the table once and end.
        #[arg(long)]
        once: bool,
        /// Print the table once, as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Writes the files of Prometheus, Jaeger and Grafana to a folder.
    #[command(after_help = "\
They are compose files for Docker and Podman, dashboards, and rules for alerts.
The folder is created if it does not exist. No file is overwritten: if one is
there with other contents, nothing is written.")]
    Stack {
        /// The folder.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Lists and checks what models cost.
    #[command(subcommand)]
    Prices(prices::Prices),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Doctor { json: false } => doctor::examine(doctor::in_lines),
        Command::Doctor { json: true } => doctor::examine(doctor::in_json),
        Command::Prices(command) => match prices::run(command) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                print_error(&error);
                ExitCode::FAILURE
            }
        },
        Command::Top { url, token_file, once, json } => top::show(&url, token_file, once, json),
        Command::Stack { folder } => match stack::write(&folder) {
            Ok(files) => {
                let folder = folder.display();
                print(&format!("{files} files of botticelli_obs {} are in {folder}", env!("CARGO_PKG_VERSION")));
                ExitCode::SUCCESS
            }
            Err(error) => {
                print_error(&error);
                ExitCode::FAILURE
            }
        },
    }
}

/// Prints a line. Not `println!`, which panics when the reader has closed the pipe.
fn print(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

fn print_error(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether standard output is a terminal that shows colours, and the user wants them (<https://no-color.org>).
fn has_colours() -> bool {
    let is = |name, value: &str| std::env::var_os(name).is_some_and(|set| set == value);
    let is_set = |name| std::env::var_os(name).is_some_and(|set| !set.is_empty());
    io::stdout().is_terminal() && !is_set("NO_COLOR") && !is("TERM", "dumb")
}
