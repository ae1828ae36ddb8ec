use botticelli_obs::llm_call;

trait Driver {
    #[llm_call(provider = "gemini", model = "gemini-2.5-flash")]
    fn generate(&self) -> String;
}

fn main() {}
