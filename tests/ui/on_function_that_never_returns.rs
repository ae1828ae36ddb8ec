use botticelli_obs::llm_call;

#[llm_call(provider = "gemini", model = "gemini-2.5-flash")]
async fn generate() -> ! {
    std::process::exit(0)
}

fn main() {}
