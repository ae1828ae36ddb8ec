//! Generates the function of a task or a tool with its run around the body.

use proc_macro2::{Group, Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::parse::{ParseStream, Parser};
use syn::token::Move;
use syn::{Expr, ExprLit, Lit, LitStr};

use crate::args::{Arguments, Attribute, LLM_TASK, LLM_TOOL};
use crate::expand::{both, private, reference, typed};
use crate::function::Function;
use crate::returns::Reported;

/// Expands `#[llm_task]`.
pub(crate) fn llm_task(args: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    expand(&LLM_TASK, args, item, |run, arguments, name| {
        let private = &run.private;
        let kind = run.setter(arguments, "kind", "with_kind");
        let conversation_id = run.setter(arguments, "conversation_id", "with_conversation_id");
        let workflow = arguments.has("workflow").then(|| quote_spanned!(Span::mixed_site()=> .as_workflow()));
        quote_spanned! {Span::mixed_site()=>
            #private::LlmTask::builder(#private::text(#name)) #kind #conversation_id #workflow .start()
        }
    })
}

/// Expands `#[llm_tool]`.
pub(crate) fn llm_tool(args: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    expand(&LLM_TOOL, args, item, |run, arguments, name| {
        let private = &run.private;
        let call_id = run.setter(arguments, "call_id", "with_call_id");
        let equal = arguments.value("arguments").map(|arguments| {
            let arguments = reference(&arguments);
            quote_spanned!(Span::mixed_site()=> .with_arguments(#arguments))
        });
        quote_spanned! {Span::mixed_site()=>
            #private::LlmToolCall::builder(#private::text(#name)) #call_id #equal .start()
        }
    })
}

fn expand(
    attribute: &'static Attribute,
    args: TokenStream,
    item: TokenStream,
    start: impl FnOnce(&Run, &mut Arguments, Expr) -> TokenStream,
) -> syn::Result<TokenStream> {
    let arguments = (|input: ParseStream<'_>| Arguments::parse(attribute, input)).parse2(args);
    let (mut arguments, function) = both(arguments, Function::parse_for(attribute, item))?;
    let error_type = arguments.value("error_type");
    let reported = Reported::of_run(&function.output, error_type.as_ref())?;
    let run = Run { private: private(arguments.krate().as_ref()), reported, error_type };
    let name = arguments.value("name").map_or_else(|| name_of(&function), |name| reference(&name));
    let start = start(&run, &mut arguments, name);
    Ok(function.with_body(|body| run.sync(&start, body), |body, capture| run.future(&start, body, capture)))
}

/// Returns the name of a function as a literal.
fn name_of(function: &Function) -> Expr {
    let name = &function.signature.ident;
    let name = name.to_string();
    let lit = Lit::Str(LitStr::new(name.trim_start_matches("r#"), Span::mixed_site()));
    Expr::Lit(ExprLit { attrs: Vec::new(), lit })
}

struct Run {
    private: TokenStream,
    reported: Reported,
    error_type: Option<Expr>,
}

// Everything is quoted with `mixed_site`, as in `expand`.
impl Run {
    /// Generates the call of a setter that takes a text.
    fn setter(&self, arguments: &mut Arguments, name: &str, setter: &str) -> Option<TokenStream> {
        let private = &self.private;
        let value = reference(&arguments.value(name)?);
        let setter = syn::Ident::new(setter, Span::mixed_site());
        Some(quote_spanned!(Span::mixed_site()=> .#setter(#private::text(#value))))
    }

    fn sync(&self, start: &TokenStream, body: &Group) -> TokenStream {
        let (output, classify) = (&self.reported.ty, self.classify());
        quote_spanned! {Span::mixed_site()=>
            let run = #start;
            run.observe_sync_with(move || -> #output #body, #classify)
        }
    }

    fn future(&self, start: &TokenStream, body: &Group, capture: Option<Move>) -> TokenStream {
        let (body, classify) = (typed(body, &self.reported.ty), self.classify());
        quote_spanned! {Span::mixed_site()=>
            let run = #start;
            run.observe_with(async #capture { #body }, #classify).await
        }
    }

    /// Generates what tells why an output is a failure.
    fn classify(&self) -> TokenStream {
        let private = &self.private;
        let Some((_, error)) = &self.reported.result else {
            return quote_spanned!(Span::mixed_site()=> #private::no_failure);
        };
        let classify = match &self.error_type {
            Some(error_type) => error_type.to_token_stream(),
            None => quote_spanned!(Span::mixed_site()=> #private::classify::<#error>()),
        };
        quote_spanned!(Span::mixed_site()=> move |output| #private::failure(output, #classify))
    }
}
