//! An agent with tools: a planner task with two tasks inside, one of which calls tools until the model has its answer.

use std::time::Instant;

use botticelli_obs::{ErrorType, LlmCall, LlmResponse, LlmTask, LlmToolCall};

use crate::client::{Error, LlmClient, ToolCall};
use crate::screen::Screen;
use crate::tally::{Pair, Tally};

/// An agent asks again at most this often.
const MAX_TURNS: usize = 4;

/// Answers one message by an agent.
pub async fn run(client: &LlmClient, pair: &Pair, tally: &Tally, number: u64) -> Result<(), Error> {
    let conversation = format!("conversation-{number}");
    let planner = LlmTask::builder("planner").with_kind("agent").with_conversation_id(&conversation).start();
    let plan = async {
        let research = LlmTask::builder("researcher").with_kind("agent").start();
        let found = research.observe(research_until_answered(client, pair, tally, number)).await?;
        let writer = LlmTask::builder("writer").with_kind("stage").as_workflow().start();
        writer.observe(write(client, pair, tally, &found)).await
    };
    planner.observe(plan).await
}

/// Asks the model, and calls the tools that it asks for, until it answers.
async fn research_until_answered(client: &LlmClient, pair: &Pair, tally: &Tally, number: u64) -> Result<String, Error> {
    let mut results = Vec::new();
    for _ in 0..MAX_TURNS {
        let reply =
            call(pair, tally, client.ask_with_tools(&pair.model, "Where does the lady live?", &results)).await?;
        let Some(tool) = reply.tool_call() else { break };
        // The first one is called twice: what a loop would do again and again.
        for _ in 0..if number == 0 { 2 } else { 1 } {
            // A tool that fails is told to the model and does not end the run.
            let result = search(tool, number).await.unwrap_or_else(|error| format!("it failed: {error}"));
            results.push((tool.clone(), result));
        }
    }
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// The tool that the model may call.
async fn search(tool: &ToolCall, number: u64) -> Result<String, ErrorType> {
    let call = LlmToolCall::builder(&tool.name).with_call_id(&tool.id).with_arguments(&tool.arguments).start();
    let work = async {
        tokio::task::yield_now().await;
        // One in fifty.
        if number % 50 == 7 { Err(ErrorType::NotFound) } else { Ok("The lady lives in Florence.".to_owned()) }
    };
    call.observe(work).await
}

async fn write(client: &LlmClient, pair: &Pair, tally: &Tally, found: &str) -> Result<(), Error> {
    call(pair, tally, client.ask(&pair.model, found)).await.map(drop)
}

/// Records one call, and counts it in the bot's own tally.
async fn call<R: LlmResponse>(
    pair: &Pair,
    tally: &Tally,
    answer: impl Future<Output = Result<R, Error>>,
) -> Result<R, Error> {
    tally.start(pair);
    let started = Instant::now();
    let result = LlmCall::start(&pair.provider, &pair.model).observe(answer).await;
    if let Some(line) = tally.end(pair, started.elapsed(), result.as_ref().map(LlmResponse::usage)) {
        Screen::of_stdout().print(line);
    }
    result
}
