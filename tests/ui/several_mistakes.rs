use botticelli_obs::llm_call;

#[llm_call(provider = 5, modle = "gemini-2.5-flash", timeout = 30, stream = true, usage)]
const fn generate() {}

fn main() {}
