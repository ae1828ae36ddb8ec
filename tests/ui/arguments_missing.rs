use botticelli_obs::llm_call;

#[llm_call]
async fn generate() -> String {
    String::new()
}

fn main() {}
