use botticelli_obs::llm_call;

#[llm_call(provider = "gemini", model = "gemini-2.5-flash")]
const fn generate() {}

fn main() {}
