use botticelli_obs::llm_call;

#[llm_call(provider = "gemini", model = size)]
async fn generate(size: u32) -> String {
    size.to_string()
}

fn main() {}
