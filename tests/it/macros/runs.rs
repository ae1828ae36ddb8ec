//! `#[llm_task]` and `#[llm_tool]`: what they record, on each kind of function they go on.

use std::pin::Pin;

use async_trait::async_trait;
use botticelli_obs::{Builder, ErrorType, LlmCall, llm_task, llm_tool, metrics};
use futures_util::FutureExt;

use crate::support::page::Page;

fn page(record: impl FnOnce()) -> Page {
    let (recorder, page) = Builder::new().recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, record);
    Page::parse(&page.render())
}

fn task<'a>(name: &'a str, kind: &'a str) -> [(&'a str, &'a str); 3] {
    [("task", name), ("kind", kind), ("nested", "false")]
}

struct HttpError(u16);

#[llm_task(kind = "bot")]
fn curator(fails: bool) -> Result<u8, ErrorType> {
    LlmCall::start("gemini", "gemini-2.5-flash").finish();
    if fails {
        return Err(ErrorType::Auth);
    }
    search("weather")?;
    search("weather")
}

#[llm_tool(arguments = query)]
fn search(query: &str) -> Result<u8, ErrorType> {
    Ok(query.len() as u8)
}

#[llm_task(name = "publisher", error_type = |error| ErrorType::from_http_status(error.0))]
async fn publish(status: u16) -> Result<(), HttpError> {
    if status == 200 { Ok(()) } else { Err(HttpError(status)) }
}

#[llm_task(name = stage, kind = "stage", workflow)]
fn stage(stage: String) -> impl Future<Output = usize> {
    async move { stage.len() }
}

#[llm_tool(name = "fetch", arguments = &url, call_id = "call_1")]
fn boxed(url: String) -> Pin<Box<dyn Future<Output = Result<usize, ErrorType>> + Send>> {
    Box::pin(async move {
        let parsed: u16 = url.parse().map_err(|_| ErrorType::InvalidRequest)?;
        Ok(usize::from(parsed))
    })
}

#[async_trait]
trait Tool {
    async fn call(&self, arguments: &str) -> Result<String, ErrorType>;
}

struct Calculator;

#[async_trait]
impl Tool for Calculator {
    #[llm_tool(name = "calculator", arguments = arguments)]
    async fn call(&self, arguments: &str) -> Result<String, ErrorType> {
        Ok(arguments.to_owned())
    }
}

#[llm_task]
fn r#loop() {}

#[test]
fn blocking_function_is_a_run_with_what_is_inside() {
    let page = page(|| {
        assert_eq!(curator(false), Ok(7));
        assert_eq!(curator(true), Err(ErrorType::Auth));
    });
    let bot = task("curator", "bot");
    assert_eq!(page.value("llm_task_runs_total", &bot), 2.0);
    assert_eq!(page.value("llm_task_errors_total", &[&bot[..], &[("error_type", "auth")]].concat()), 1.0);
    assert_eq!(page.value("llm_task_calls_total", &bot), 2.0);
    assert_eq!(page.value("llm_task_repeated_tool_calls_total", &bot), 1.0);
    assert_eq!(page.value("llm_tool_calls_total", &[("tool", "search")]), 2.0);
}

#[test]
fn futures_of_every_form_are_runs() {
    let page = page(|| {
        assert!(publish(200).now_or_never().expect("it is ready").is_ok());
        assert!(publish(503).now_or_never().expect("it is ready").is_err());
        drop(publish(200));
        assert_eq!(stage("draft".to_owned()).now_or_never(), Some(5));
        assert_eq!(boxed("80".to_owned()).now_or_never(), Some(Ok(80)));
        assert_eq!(boxed("x".to_owned()).now_or_never(), Some(Err(ErrorType::InvalidRequest)));
        assert_eq!(Calculator.call("1 + 1").now_or_never(), Some(Ok("1 + 1".to_owned())));
        r#loop();
    });
    let runs = |name, kind| page.value("llm_task_runs_total", &task(name, kind));
    assert_eq!((runs("publisher", "task"), runs("draft", "stage"), runs("loop", "task")), (2.0, 1.0, 1.0));
    let overloaded = [&task("publisher", "task")[..], &[("error_type", "overloaded")]].concat();
    assert_eq!(page.value("llm_task_errors_total", &overloaded), 1.0);
    assert_eq!(page.value("llm_tool_calls_total", &[("tool", "fetch")]), 2.0);
    let invalid = [("tool", "fetch"), ("error_type", "invalid_request")];
    assert_eq!(page.value("llm_tool_errors_total", &invalid), 1.0);
    assert_eq!(page.value("llm_tool_calls_total", &[("tool", "calculator")]), 1.0);
}
