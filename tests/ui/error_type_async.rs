use botticelli_obs::llm_call;

#[llm_call(provider = "gemini", model = "gemini-2.5-flash", error_type = async |_| botticelli_obs::ErrorType::Auth)]
async fn generate() -> Result<String, std::io::Error> {
    Ok(String::new())
}

fn main() {}
