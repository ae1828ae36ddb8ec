//! Implementation detail of the `botticelli_obs` crate.
//!
//! `args` parses and checks the arguments of an attribute, `function` and `returns` analyse the function, and `expand` and `run`
//! generate the new function. Expansions use only paths below `botticelli_obs::__private`. That crate tests the behaviour in
//! `tests/it/macros/llm_call.rs` and the error messages in `tests/ui`.

mod args;
mod expand;
mod function;
mod returns;
mod run;

use proc_macro::TokenStream;
use quote::quote;

#[expect(missing_docs, reason = "documented where it is re-exported")]
#[proc_macro_attribute]
pub fn llm_call(args: TokenStream, item: TokenStream) -> TokenStream {
    expanded(expand::llm_call, args, item)
}

#[expect(missing_docs, reason = "documented where it is re-exported")]
#[proc_macro_attribute]
pub fn llm_task(args: TokenStream, item: TokenStream) -> TokenStream {
    expanded(run::llm_task, args, item)
}

#[expect(missing_docs, reason = "documented where it is re-exported")]
#[proc_macro_attribute]
pub fn llm_tool(args: TokenStream, item: TokenStream) -> TokenStream {
    expanded(run::llm_tool, args, item)
}

type Tokens = proc_macro2::TokenStream;

fn expanded(expand: fn(Tokens, Tokens) -> syn::Result<Tokens>, args: TokenStream, item: TokenStream) -> TokenStream {
    let item = Tokens::from(item);
    let expanded = expand(args.into(), item.clone()).unwrap_or_else(|error| {
        // The original function is emitted too. Otherwise every use of it would be a further error.
        let error = error.into_compile_error();
        quote!(#item #error)
    });
    expanded.into()
}
