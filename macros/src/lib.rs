//! Implementation detail of the `botticelli_obs` crate.
//!
//! `args` reads and checks what stands in the parentheses, `function` and `returns` what the attribute stands on, `expand` writes
//! the function anew. Expansions go through `botticelli_obs::__private`; behaviour is tested in `tests/it/macros/llm_call.rs` of that crate, messages in
//! `tests/ui`.

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
        // With the function as it was, nothing else fails for want of it.
        let error = error.into_compile_error();
        quote!(#item #error)
    });
    expanded.into()
}
