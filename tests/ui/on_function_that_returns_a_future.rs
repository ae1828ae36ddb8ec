use std::pin::Pin;

use botticelli_obs::llm_call;

#[llm_call(provider = "gemini", model = "gemini-2.5-flash")]
fn generate() -> Pin<Box<dyn Future<Output = String>>> {
    let future = async { String::new() };
    Box::pin(future)
}

fn main() {}
