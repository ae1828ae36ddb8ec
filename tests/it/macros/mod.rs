//! The attribute `#[llm_call]`; what is wrong with a use of it is in `tests/ui`.

mod hygiene;
mod lints;
#[cfg(feature = "install")]
mod llm_call;
