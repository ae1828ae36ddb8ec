use botticelli_obs::llm_call;

struct Client;

#[llm_call(provider = "gemini", model = "gemini-2.5-flash")]
impl Client {
    async fn generate(&self) {}
}

fn main() {}
