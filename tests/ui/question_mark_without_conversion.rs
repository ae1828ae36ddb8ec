use botticelli_obs::{ClassifyError, ErrorType, llm_call};

struct ApiError;

impl ClassifyError for ApiError {
    fn error_type(&self) -> ErrorType {
        ErrorType::Unknown
    }
}

#[llm_call(provider = "gemini", model = "gemini-2.5-flash")]
async fn generate(path: &str) -> Result<String, ApiError> {
    let prompt = std::fs::read_to_string(path)?;
    Ok(prompt)
}

fn main() {}
