//! The attributes `#[llm_call]`, `#[llm_task]` and `#[llm_tool]`; what is wrong with a use of them is in `tests/ui`.

mod hygiene;
mod lints;
#[cfg(feature = "install")]
mod llm_call;
#[cfg(feature = "install")]
mod runs;
