//! A small bot that calls LLMs, with metrics and traces: a complete program that uses the crate.
//!
//! `cargo run --example bot_server` starts a simulator of the API and calls that. To call a real server:
//! `OPENAI_BASE_URL=http://localhost:11434/v1 cargo run --example bot_server -- --provider ollama --model llama3.2`. With only
//! `OPENAI_API_KEY` set, it calls OpenAI. It runs until Ctrl-C.

#![expect(clippy::print_stderr, reason = "a program that talks to its user")]

#[path = "bot/agent.rs"]
mod agent;
#[path = "bot/client.rs"]
mod client;
#[path = "bot/screen.rs"]
mod screen;
mod simulator;
#[path = "bot/stop.rs"]
mod stop;
#[path = "bot/tally.rs"]
mod tally;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::Uri;
use botticelli_obs::{Budget, Builder, LlmCall, LlmResponse, LlmTask, Telemetry, Usage};
use clap::Parser;
use futures_util::StreamExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::Instrument;

use client::LlmClient;
use screen::Screen;
use simulator::Simulator;
use stop::Stop;
use tally::{Pair, Tally};

/// A bot that calls LLMs, observed by botticelli_obs.
#[derive(Clone, Parser)]
#[command(after_help = "\
Environment, among others:
  OPENAI_BASE_URL, OPENAI_API_KEY  The server to call; with neither a simulator is started
  PROMETHEUS_ENDPOINT              Where the metrics are served [default: 127.0.0.1:9464]
  BOTTICELLI_OBS_PRICES            What calls cost: builtin, or a file of prices
  OTEL_EXPORTER_OTLP_ENDPOINT      Where spans are sent, such as http://localhost:4317 for Jaeger")]
struct Options {
    /// Calls to start each second.
    #[arg(long, default_value_t = 2.0, value_parser = positive)]
    rate: f64,
    /// End after this number of calls.
    #[arg(long)]
    calls: Option<u64>,
    /// Start no more calls after this time, such as 30s or 10m.
    #[arg(long, value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// The maximum number of concurrent calls.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    concurrency: u32,
    /// The share of calls whose answer is streamed.
    #[arg(long, default_value_t = 0.5, value_parser = share)]
    stream_ratio: f64,
    /// The share of messages that an agent with tools answers, by several calls.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    agent_ratio: f64,
    /// How long to wait for an answer, or for the next chunk of one.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// A model to ask; may be repeated. With the simulator: all of its models.
    #[arg(long, alias = "models")]
    model: Vec<String>,
    /// The name of the provider in metrics and spans, if the server is a real one.
    #[arg(long, default_value = "openai")]
    provider: String,
    /// The share of calls that the simulator fails.
    #[arg(long, default_value_t = 0.05, value_parser = share)]
    error_rate: f64,
    /// The factor for the simulator's latencies.
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    latency_scale: f64,
    /// The seed of the simulator's random numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the bot's own counts to this file, as JSON.
    #[arg(long)]
    tally: Option<PathBuf>,
    /// Serve the page for this time after the last call, also after a first signal. The next signal ends the bot.
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
    linger: Duration,
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && (1e-6..=1e6).contains(number));
    number.ok_or_else(|| "not a number from 0.000001 to 1000000".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "not a number from 0 to 1".to_owned())
}

fn main() -> ExitCode {
    let options = Options::parse();
    let telemetry = match install() {
        Ok(telemetry) => telemetry,
        Err(error) => {
            eprintln!("{error:?}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = run(&options);
    if let Err(lost) = telemetry.shutdown(Duration::from_secs(5)) {
        eprintln!("{lost}");
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn install() -> Result<Telemetry, botticelli_obs::InstallError> {
    // The client crate logs the whole text of answers that it can't read. Only an explicit filter shows that.
    let quiet = "info,async_openai=off";
    let unset = |name| std::env::var_os(name).is_none_or(|value| value.is_empty());
    let builder = Builder::new();
    let builder = if unset("RUST_LOG") { builder.with_log_filter(quiet) } else { builder };
    let builder = if unset("BOTTICELLI_OBS_SPAN_FILTER") { builder.with_span_filter(quiet) } else { builder };
    // What the bot may spend in a day.
    let builder = builder.add_budget(&Budget::daily("bot", 1_000.0).with_callback(0.8, |status| {
        tracing::warn!("{} of {} USD are spent today", status.spent, status.limit);
    }));
    builder.install()
}

#[tokio::main]
async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let screen = Screen::of_stdout();
    let (client, pairs) = connect(options, screen).await?;
    for pair in &pairs {
        botticelli_obs::declare(&pair.provider, &pair.model);
    }
    let tally = Arc::new(Tally::default());
    let mut stop = Stop::new()?;
    let mut running = JoinSet::new();
    let calls = async {
        let starting = start_calls(options, client, &pairs, &tally, &mut running);
        // Elapsed or not, running calls may end.
        let _ = tokio::time::timeout(options.duration.unwrap_or(Duration::MAX), starting).await;
        while running.join_next().await.is_some() {}
    };
    let is_stopped = tokio::select! {
        () = calls => false,
        () = show(&tally, screen) => false,
        () = stop.requested() => true,
    };
    if is_stopped {
        // Calls that take longer are dropped and counted as cancelled. These 3 s and the 5 s for the spans are less than the 10 s
        // after which containers are killed.
        let finished = async { while running.join_next().await.is_some() {} };
        tokio::select! {
            _ = tokio::time::timeout(Duration::from_secs(3), finished) => {}
            () = stop.requested() => {}
        }
        running.shutdown().await;
    }
    screen.print(&tally);
    if let Some(path) = &options.tally {
        std::fs::write(path, tally.to_json().to_string())
            .map_err(|error| format!("can't write the tally to {}: {error}", path.display()))?;
    }
    tokio::select! {
        () = tokio::time::sleep(options.linger) => {}
        () = stop.requested() => {}
    }
    Ok(())
}

/// Returns a client of the server in the environment, or else of a new simulator, and the pairs to call.
async fn connect(options: &Options, screen: Screen) -> Result<(LlmClient, Vec<Pair>), Box<dyn Error>> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let pair = |provider: &str, model: &str| Pair { provider: provider.to_owned(), model: model.to_owned() };
    let (base_url, key) = (variable("OPENAI_BASE_URL"), variable("OPENAI_API_KEY"));
    if base_url.is_some() || key.is_some() {
        let base_url = base_url.unwrap_or_else(|| "https://api.openai.com/v1".to_owned());
        let shown = without_secrets(&base_url).ok_or("OPENAI_BASE_URL is no URL such as http://localhost:11434/v1")?;
        screen.print(format_args!("server: {shown}"));
        let models = if options.model.is_empty() { vec!["gpt-4o-mini".to_owned()] } else { options.model.clone() };
        let pairs = models.iter().map(|model| pair(&options.provider, model)).collect();
        let client = LlmClient::new(base_url.trim_end_matches('/'), &key.unwrap_or_default(), options.timeout)?;
        return Ok((client, pairs));
    }
    let (error_rate, latency_scale, seed) = (options.error_rate, options.latency_scale, options.seed);
    let simulator = Simulator::start(simulator::Config { error_rate, latency_scale, seed }).await;
    let simulator = simulator.map_err(|error| format!("can't start the simulator on 127.0.0.1: {error}"))?;
    screen.print("server: a simulator (set OPENAI_BASE_URL or OPENAI_API_KEY for a real one)");
    let served = simulator::MODELS;
    if let Some(unknown) = options.model.iter().find(|wanted| served.iter().all(|model| model.name != **wanted)) {
        let names: Vec<_> = served.iter().map(|model| model.name).collect();
        return Err(format!("the simulator has no model {unknown:?}; it has {}", names.join(", ")).into());
    }
    let wanted =
        served.iter().filter(|model| options.model.is_empty() || options.model.iter().any(|m| m == model.name));
    let pairs = wanted.map(|model| pair(model.provider, model.name)).collect();
    Ok((LlmClient::new(&simulator.base_url(), "none", options.timeout)?, pairs))
}

/// Removes user, password and query from the URL: they may contain keys.
fn without_secrets(url: &str) -> Option<String> {
    let url: Uri = url.parse().ok()?;
    let scheme = url.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let address = url.authority()?.as_str().rsplit('@').next()?;
    Some(format!("{scheme}://{address}{}", url.path()))
}

async fn start_calls(
    options: &Options,
    client: LlmClient,
    pairs: &[Pair],
    tally: &Arc<Tally>,
    running: &mut JoinSet<()>,
) {
    let client = Arc::new(client);
    let permits = Arc::new(Semaphore::new(options.concurrency as usize));
    let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / options.rate));
    let mut random = fastrand::Rng::with_seed(options.seed);
    for number in 0..options.calls.unwrap_or(u64::MAX) {
        pace.tick().await;
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
        let pair = pairs[(number % pairs.len() as u64) as usize].clone();
        let streaming = random.f64() < options.stream_ratio;
        // No random number without agents, so that the other messages stay the same.
        let by_agent = options.agent_ratio > 0.0 && random.f64() < options.agent_ratio;
        let (client, tally) = (Arc::clone(&client), Arc::clone(tally));
        let message = tracing::info_span!("bot.message", bot.message.number = number);
        running.spawn(
            async move {
                if by_agent {
                    // Its calls are counted where they are made, and its failures with them.
                    let _ = agent::run(&client, &pair, &tally, number).await;
                } else {
                    tally.start(&pair);
                    let started = Instant::now();
                    let task = LlmTask::builder("answer").with_kind("bot").start();
                    let outcome = task.observe(ask(&client, &pair, streaming)).await;
                    if let Some(line) = tally.end(&pair, started.elapsed(), outcome.as_ref().copied()) {
                        Screen::of_stdout().print(line);
                    }
                }
                drop(permit);
            }
            .instrument(message),
        );
        while running.try_join_next().is_some() {}
    }
}

/// Makes one logical call and records it.
async fn ask(client: &LlmClient, pair: &Pair, streaming: bool) -> Result<Option<Usage>, client::Error> {
    const PROMPT: &str = "Who is the lady in the shell, and why does everyone think of the sea?";
    let call = LlmCall::builder(&pair.provider, &pair.model);
    if !streaming {
        let reply = call.start().observe(client.ask(&pair.model, PROMPT)).await?;
        return Ok(reply.usage());
    }
    let call = call.with_streaming().start();
    let mut chunks = std::pin::pin!(call.observe_stream(client.ask_streaming(&pair.model, PROMPT)).await?);
    let mut usage = None;
    while let Some(chunk) = chunks.next().await {
        usage = chunk?.usage().or(usage);
    }
    Ok(usage)
}

/// Shows the counts: on a terminal in one line that is updated every second, elsewhere in a new line every five seconds.
async fn show(tally: &Tally, screen: Screen) {
    let mut tick = tokio::time::interval(Duration::from_secs(if screen.is_live { 1 } else { 5 }));
    tick.tick().await;
    loop {
        tick.tick().await;
        screen.show(&tally.line());
    }
}
