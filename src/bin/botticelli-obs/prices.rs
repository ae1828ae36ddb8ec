//! The command `prices`: lists what models cost, and says what a call to one would be priced by.

use std::env;
use std::path::PathBuf;

use botticelli_obs::{Price, PriceBook};
use clap::{Args, Subcommand};

use crate::print;

#[derive(Subcommand)]
pub enum Prices {
    /// Lists the models that have a price, in US dollars for a million tokens.
    List {
        #[command(flatten)]
        source: Source,
        /// Only models of this provider, by its name in the table.
        #[arg(long)]
        provider: Option<String>,
    },
    /// Says what calls to a model cost. The exit status is 1 if that is unknown.
    Check {
        #[command(flatten)]
        source: Source,
        /// The provider, as on labels.
        provider: String,
        /// The model, as on labels.
        model: String,
    },
}

#[derive(Args)]
pub struct Source {
    /// A file of prices. By default what BOTTICELLI_OBS_PRICES names, or else the built-in table.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
}

impl Source {
    fn book(self) -> Result<PriceBook, String> {
        let of_environment = || env::var_os("BOTTICELLI_OBS_PRICES").map(PathBuf::from);
        let is_file = |path: &PathBuf| !["", "builtin", "off", "none"].iter().any(|word| path.as_os_str() == *word);
        match self.file.or_else(|| of_environment().filter(is_file)) {
            Some(path) => PriceBook::from_file(path).map_err(|error| error.to_string()),
            None => Ok(PriceBook::builtin()),
        }
    }
}

/// Runs the command. Returns whether every price that was asked for is known.
///
/// # Errors
///
/// When a file of prices can't be read.
pub fn run(command: Prices) -> Result<bool, String> {
    match command {
        Prices::List { source, provider } => {
            let book = source.book()?;
            print(&origin(&book));
            for (of, model) in book.models().filter(|(of, _)| provider.as_ref().is_none_or(|wanted| wanted == of)) {
                if let Some(price) = book.price(of, model) {
                    print(&format!("{of} {model}: {}", shown(&price)));
                }
            }
            Ok(true)
        }
        Prices::Check { source, provider, model } => {
            let book = source.book()?;
            let price = book.price(&provider, &model);
            print(&origin(&book));
            print(&match &price {
                Some(price) => format!("{provider} {model}: {}", shown(price)),
                None => format!("{provider} {model}: unknown; add a price to a file that BOTTICELLI_OBS_PRICES names"),
            });
            Ok(price.is_some())
        }
    }
}

fn origin(book: &PriceBook) -> String {
    match book.as_of() {
        Some(day) => format!("prices of {}, as of {day}, in USD for a million tokens", book.source()),
        None => format!("prices of {}, in USD for a million tokens", book.source()),
    }
}

fn shown(price: &Price) -> String {
    let parts = [
        ("input", Some(price.input())),
        ("output", Some(price.output())),
        ("cache read", price.cache_read().filter(|usd| *usd != price.input())),
        ("cache write", price.cache_write().filter(|usd| *usd != price.input())),
        ("reasoning", price.reasoning().filter(|usd| *usd != price.output())),
    ];
    let parts: Vec<String> = parts.into_iter().filter_map(|(name, usd)| Some(format!("{name} {}", usd?))).collect();
    parts.join(", ")
}
