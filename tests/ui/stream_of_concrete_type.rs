use botticelli_obs::llm_call;
use futures_util::stream::{self, Empty};

#[llm_call(provider = "gemini", model = "gemini-2.5-flash", stream)]
fn generate() -> Empty<()> {
    stream::empty()
}

fn main() {}
