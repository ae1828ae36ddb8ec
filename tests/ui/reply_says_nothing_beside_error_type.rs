use botticelli_obs::llm_call;

struct Reply;

#[llm_call(provider = "gemini", model = "gemini-2.5-flash", error_type = |_| botticelli_obs::ErrorType::Network)]
async fn generate() -> Result<Reply, std::io::Error> {
    Ok(Reply)
}

fn main() {}
