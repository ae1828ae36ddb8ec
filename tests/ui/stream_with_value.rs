use botticelli_obs::llm_call;
use futures_util::stream::{self, Stream};

#[llm_call(provider = "gemini", model = "gemini-2.5-flash", stream = true)]
fn generate() -> impl Stream<Item = String> {
    stream::empty()
}

fn main() {}
