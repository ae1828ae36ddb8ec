use botticelli_obs::llm_call;

#[llm_call(provider = "gemini", model = "gemini-2.5-flash")]
fn generate() -> Result<(), std::fmt::Error> {
    Ok(())
}

fn main() {}
