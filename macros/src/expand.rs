//! Generates the function with the call around its body.

use proc_macro2::{Delimiter, Group, Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::spanned::Spanned;
use syn::token::Move;
use syn::{Block, Expr, ExprReference, Token, Type, parse_quote_spanned};

use crate::args::{Args, combined};
use crate::function::{Body, Function, future_at_the_end};
use crate::returns::{Opened, Returns};

/// Expands `#[llm_call]`.
pub(crate) fn llm_call(args: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let (args, function) = match (syn::parse2::<Args>(args), syn::parse2::<Function>(item)) {
        (Ok(args), Ok(function)) => (args, function),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => return Err(error),
        (Err(first), Err(second)) => return Err(combined(first, second)),
    };
    let Function { attributes, visibility, signature, body, output } = function;
    let expansion = Expansion { private: private(&args), returns: Returns::new(&args, &output)?, args: &args };
    let body = match body {
        Body::Sync(body) => expansion.sync(&body),
        Body::Async(body) => expansion.future(&body, Some(Token![move](Span::mixed_site()))),
        Body::Future(mut block) => {
            if let Some(future) = future_at_the_end(&mut block) {
                let inside = expansion.future(&tokens(&future.block), future.capture);
                future.block = parse_quote_spanned!(Span::mixed_site()=> { #inside });
            }
            tokens(&block).stream()
        }
    };
    Ok(quote_spanned!(Span::mixed_site()=> #(#attributes)* #visibility #signature { #body }))
}

/// Returns the path of the hidden module that expansions use.
fn private(args: &Args) -> TokenStream {
    match &args.krate {
        Some(krate) => quote_spanned!(Span::mixed_site()=> #krate::__private),
        None => quote_spanned!(Span::mixed_site()=> ::botticelli_obs::__private),
    }
}

struct Expansion<'a> {
    args: &'a Args,
    private: TokenStream,
    returns: Returns,
}

// Everything is quoted with `mixed_site`: the user's code can't see the local variables of the expansion, and lints ignore the
// expansion.
impl Expansion<'_> {
    /// Generates the body of a blocking function.
    fn sync(&self, body: &Group) -> TokenStream {
        let Self { private, returns, .. } = self;
        let (start, output) = (self.start(), &returns.output);
        let reported = self.reported(&quote_spanned!(Span::mixed_site()=> (move || -> #output #body)()));
        let observe = match returns.stream {
            None => quote_spanned!(Span::mixed_site()=> observe_sync),
            Some(_) => quote_spanned!(Span::mixed_site()=> observe_opening),
        };
        let observed =
            self.unreported(&quote_spanned!(Span::mixed_site()=> #private::#observe(call, move || #reported)));
        quote_spanned!(Span::mixed_site()=> let call = #start; #observed)
    }

    /// Generates the body of an async function or block.
    fn future(&self, body: &Group, capture: Option<Move>) -> TokenStream {
        let Self { private, returns, .. } = self;
        let (start, body) = (self.start(), typed(body, &returns.output));
        let reported = self.reported(&quote_spanned!(Span::mixed_site()=> async #capture { #body }.await));
        let observe = match returns.stream {
            None => quote_spanned!(Span::mixed_site()=> observe),
            Some(_) => quote_spanned!(Span::mixed_site()=> observe_stream),
        };
        let inside = quote_spanned!(Span::mixed_site()=> async #capture { #reported });
        let observed =
            self.unreported(&quote_spanned!(Span::mixed_site()=> #private::LlmCall::#observe(call, #inside).await));
        quote_spanned!(Span::mixed_site()=> let call = #start; #observed)
    }

    /// Generates the expression that starts the call. It borrows the function's arguments only while it is evaluated.
    fn start(&self) -> TokenStream {
        let Self { private, args, .. } = self;
        let (provider, model) = (reference(&args.provider), reference(&args.model));
        let operation = args.operation.as_ref().map(|operation| {
            let operation = reference(operation);
            quote_spanned!(Span::mixed_site()=> .with_operation(#private::text(#operation)))
        });
        let timeout = args.timeout.as_ref().map(|timeout| quote_spanned!(Span::mixed_site()=> .with_timeout(#timeout)));
        let streaming = args.stream.map(|_| quote_spanned!(Span::mixed_site()=> .with_streaming()));
        quote_spanned! {Span::mixed_site()=>
            #private::LlmCall::builder(#private::text(#provider), #private::text(#model))
                #operation #timeout #streaming .start()
        }
    }

    /// Wraps a value together with the closure that records it, so that the call can observe it.
    fn reported(&self, value: &TokenStream) -> TokenStream {
        let private = &self.private;
        let report = self.report();
        match &self.returns.stream {
            None => quote_spanned!(Span::mixed_site()=> #private::Reported::new(#value, #report)),
            Some(Opened { ty, error: Some(error), .. }) => {
                let classify = self.classify(error);
                quote_spanned!(Span::mixed_site()=> #private::report_items::<#ty, _, _, _>(#value, #report, #classify))
            }
            Some(Opened { ty, error: None, .. }) => quote_spanned! {Span::mixed_site()=>
                #private::report_items::<#ty, _, _, _>(#private::always(#value), #report, #private::classify())
            },
        }
    }

    /// Unwraps the value again.
    fn unreported(&self, observed: &TokenStream) -> TokenStream {
        let Self { private, returns, .. } = self;
        let Some(Opened { ty, error, is_opaque }) = &returns.stream else {
            return quote_spanned!(Span::mixed_site()=> #private::Reported::into_value(#observed));
        };
        let mut opened = quote_spanned!(Span::mixed_site()=> #private::into_items(#observed));
        if !is_opaque {
            opened = quote_spanned!(Span::mixed_site()=> #private::boxed::<#ty, _, _>(#opened));
        }
        if error.is_none() {
            opened = quote_spanned!(Span::mixed_site()=> #private::opened(#opened));
        }
        opened
    }

    /// Generates the closure that records the output, or an item of the stream.
    fn report(&self) -> TokenStream {
        let Self { private, args, returns } = self;
        let reported = &returns.reported;
        if args.usage.is_none() && args.error_type.is_none() {
            let ty = &reported.ty;
            return quote_spanned!(Span::mixed_site()=> #private::outcome::<#ty>());
        }
        let value = reported.result.as_ref().map_or(&reported.ty, |(value, _)| value);
        let response = match &args.usage {
            Some(usage) => quote_spanned!(Span::mixed_site()=> #private::usage::<#value>(call, value, #usage)),
            None => quote_spanned!(Span::mixed_site()=> #private::response::<#value>(call, value)),
        };
        let Some((_, error)) = &reported.result else {
            return quote_spanned!(Span::mixed_site()=> move |call, value| #response);
        };
        let classify = self.classify(error);
        quote_spanned! {Span::mixed_site()=>
            move |call, value| match value {
                ::core::result::Result::Ok(value) => #response,
                ::core::result::Result::Err(error) => #private::error_type(call, error, #classify),
            }
        }
    }

    fn classify(&self, error: &Type) -> TokenStream {
        let private = &self.private;
        match &self.args.error_type {
            Some(error_type) => error_type.to_token_stream(),
            None => quote_spanned!(Span::mixed_site()=> #private::classify::<#error>()),
        }
    }
}

/// Puts a `return` of the output type, which is never reached, before the body.
///
/// There is no other way to give an async block its type. `?` needs it for the conversion of the error, and with it a type
/// mismatch is reported in the user's code.
fn typed(body: &Group, output: &Type) -> TokenStream {
    // The body stays a block, because it may begin with items, and clippy warns about items after statements. Its braces have the
    // span of the expansion, so that no lint calls them unnecessary.
    let mut block = Group::new(Delimiter::Brace, body.stream());
    block.set_span(Span::mixed_site().located_at(body.span()));
    let site = Span::mixed_site().located_at(output.span());
    quote_spanned! {site=>
        if let ::core::option::Option::Some(output) = ::core::option::Option::None::<#output> {
            return output;
        }
        #block
    }
}

/// Returns the tokens of a parsed block.
fn tokens(block: &Block) -> Group {
    let mut group = Group::new(Delimiter::Brace, block.stmts.iter().map(ToTokens::to_token_stream).collect());
    group.set_span(block.brace_token.span.join());
    group
}

/// Generates a reference to an expression.
fn reference(expr: &Expr) -> Expr {
    Expr::Reference(ExprReference {
        attrs: Vec::new(),
        and_token: Token![&](Span::mixed_site().located_at(expr.span())),
        mutability: None,
        expr: Box::new(expr.clone()),
    })
}
