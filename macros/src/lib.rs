//! Implementation detail of the `botticelli_obs` crate.
//!
//! `args` parses and checks the arguments of the attribute, `function` and `returns` analyse the function, and `expand` generates
//! the new function. Expansions use only paths below `botticelli_obs::__private`. That crate tests the behaviour in
//! `tests/it/macros/llm_call.rs` and the error messages in `tests/ui`.

mod args;
mod expand;
mod function;
mod returns;

use proc_macro::TokenStream;
use quote::quote;

#[expect(missing_docs, reason = "documented where it is re-exported")]
#[proc_macro_attribute]
pub fn llm_call(args: TokenStream, item: TokenStream) -> TokenStream {
    let item = proc_macro2::TokenStream::from(item);
    let expanded = expand::llm_call(args.into(), item.clone()).unwrap_or_else(|error| {
        // The original function is emitted too. Otherwise every use of it would be a further error.
        let error = error.into_compile_error();
        quote!(#item #error)
    });
    expanded.into()
}
