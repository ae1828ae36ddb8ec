use botticelli_obs::llm_tool;

#[llm_tool]
struct Search;

fn main() {}
