use botticelli_obs::llm_call;

fn main() {
    #[llm_call(provider = "gemini", model = "gemini-2.5-flash")]
    let generate = async || String::new();
    drop(generate);
}
