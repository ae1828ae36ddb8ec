//! Expansions of the attributes where nothing of the standard library is in scope and its names mean something else.
#![no_implicit_prelude]

/// Names that expansions could mean by mistake.
#[allow(dead_code, non_camel_case_types, reason = "they are there to be in the way")]
mod shadow {
    pub(crate) struct Result;
    pub(crate) struct Option;
    pub(crate) struct Box;
    pub(crate) struct Pin;
    pub(crate) struct String;
    pub(crate) struct Future;
    pub(crate) struct Stream;
    pub(crate) struct LlmCall;
    pub(crate) struct Reported;
    pub(crate) struct str;
    pub(crate) struct Ok;
    pub(crate) struct Err;
    pub(crate) struct Some;
    pub(crate) struct None;
    pub(crate) mod std {}
    pub(crate) mod core {}
    pub(crate) mod alloc {}
    pub(crate) mod botticelli_obs {}
}

mod functions {
    use ::botticelli_obs::{ErrorType, Usage, llm_call, llm_task, llm_tool};

    #[allow(unused_imports, reason = "they are there to be in the way")]
    use super::shadow::*;

    pub(crate) type Chunk = ::std::result::Result<(), Failure>;

    pub(crate) struct Failure;

    impl ::botticelli_obs::ClassifyError for Failure {
        fn error_type(&self) -> ErrorType {
            ErrorType::Unknown
        }
    }

    pub(crate) struct Foreign;

    // Locals with the names of those in expansions.
    #[llm_call(provider = call, model = value)]
    pub(crate) async fn generate(call: &::std::primitive::str, value: &::std::primitive::str, output: bool) -> Chunk {
        if output { ::std::result::Result::Ok(()) } else { ::std::result::Result::Err(Failure) }
    }

    #[llm_call(provider = "gemini", model = "m", operation = "chat", timeout = ::std::time::Duration::MAX)]
    pub(crate) fn generate_sync(call: u8) -> Chunk {
        ::std::assert_eq!(call, 3);
        ::std::result::Result::Ok(())
    }

    #[llm_call(
        provider = "gemini",
        model = "m",
        usage = |_| ::std::option::Option::Some(Usage::new(1, 2)),
        error_type = |_| ErrorType::Unknown,
    )]
    pub(crate) async fn foreign() -> ::std::result::Result<Foreign, Foreign> {
        ::std::result::Result::Ok(Foreign)
    }

    #[llm_task(name = run, kind = "bot", conversation_id = output, workflow)]
    pub(crate) async fn task(run: &::std::primitive::str, output: &::std::primitive::str) -> Chunk {
        if run == output { ::std::result::Result::Ok(()) } else { ::std::result::Result::Err(Failure) }
    }

    #[llm_tool(arguments = run, call_id = "c", error_type = |_| ErrorType::Unknown)]
    pub(crate) fn tool(run: u8) -> ::std::result::Result<u8, Foreign> {
        ::std::result::Result::Ok(run)
    }

    #[llm_call(provider = "gemini", model = "m", stream)]
    pub(crate) async fn opaque_stream()
    -> ::std::result::Result<impl ::futures_util::Stream<Item = Chunk> + use<>, Failure> {
        ::std::result::Result::Ok(::futures_util::stream::empty())
    }

    #[llm_call(provider = "gemini", model = "m", stream)]
    pub(crate) fn boxed_stream()
    -> ::std::pin::Pin<::std::boxed::Box<dyn ::futures_util::Stream<Item = Chunk> + ::std::marker::Send>> {
        ::std::boxed::Box::pin(::futures_util::stream::empty())
    }

    #[llm_call(provider = "gemini", model = "m", stream, usage = |_| ::std::option::Option::None)]
    pub(crate) fn foreign_stream() -> ::std::result::Result<::futures_util::stream::BoxStream<'static, Foreign>, Failure>
    {
        ::std::result::Result::Ok(::std::boxed::Box::pin(::futures_util::stream::empty()))
    }
}

#[::std::prelude::v1::test]
fn expansions_need_no_names_of_the_caller() {
    use ::futures_util::{FutureExt, StreamExt};
    use ::std::assert;

    assert!(::std::matches!(
        functions::generate("gemini", "m", true).now_or_never(),
        ::std::option::Option::Some(::std::result::Result::Ok(()))
    ));
    assert!(functions::generate_sync(3).is_ok());
    assert!(::std::matches!(
        functions::task("t", "t").now_or_never(),
        ::std::option::Option::Some(::std::result::Result::Ok(()))
    ));
    assert!(functions::tool(3).is_ok());
    assert!(::std::matches!(
        functions::foreign().now_or_never(),
        ::std::option::Option::Some(::std::result::Result::Ok(_))
    ));
    assert!(::std::matches!(
        functions::opaque_stream().now_or_never(),
        ::std::option::Option::Some(::std::result::Result::Ok(_))
    ));
    assert!(functions::boxed_stream().next().now_or_never().flatten().is_none());
    assert!(functions::foreign_stream().is_ok());
}
