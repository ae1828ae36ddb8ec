//! What wrong uses of `#[llm_call]` are told.
#![cfg(feature = "macros")]

#[test]
fn each_mistake_is_told_where_it_is() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
