use botticelli_obs::llm_call;
use futures_util::stream::{self, Stream};

struct Chunk;

#[llm_call(provider = "gemini", model = "gemini-2.5-flash", stream)]
fn generate() -> impl Stream<Item = Chunk> {
    stream::empty()
}

fn main() {}
