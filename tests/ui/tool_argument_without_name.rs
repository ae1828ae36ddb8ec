use botticelli_obs::llm_tool;

#[llm_tool("search")]
fn search() {}

fn main() {}
