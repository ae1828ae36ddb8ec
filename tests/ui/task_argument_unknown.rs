use botticelli_obs::llm_task;

#[llm_task(nmae = "bot")]
fn bot() {}

fn main() {}
