use botticelli_obs::llm_call;

struct Reply;

#[llm_call(provider = "gemini", model = "gemini-2.5-flash")]
async fn generate() -> Reply {
    Reply
}

fn main() {}
