use botticelli_obs::{ErrorType, llm_task};

#[llm_task(error_type = |_| ErrorType::Unknown)]
fn bot() -> u8 {
    3
}

fn main() {}
