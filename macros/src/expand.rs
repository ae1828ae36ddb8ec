//! Generates the function with the call around its body.

use proc_macro2::{Delimiter, Group, Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::parse::{ParseStream, Parser};
use syn::spanned::Spanned;
use syn::token::Move;
use syn::{Block, Expr, ExprReference, Path, Token, Type, parse_quote_spanned};

use crate::args::{Args, Attribute, LLM_CALL, combined};
use crate::function::{Body, Function, future_at_the_end};
use crate::returns::{Opened, Returns};

/// Expands `#[llm_call]`.
pub(crate) fn llm_call(args: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let (args, function) = both(syn::parse2::<Args>(args), Function::parse_for(&LLM_CALL, item))?;
    let returns = Returns::new(&args, &function.output)?;
    let expansion = Expansion { private: private(args.krate.as_ref()), returns, args: &args };
    Ok(function.with_body(|body| expansion.sync(body), |body, capture| expansion.future(body, capture)))
}

/// Returns the arguments and the function, or the mistakes of both.
pub(crate) fn both<A>(args: syn::Result<A>, function: syn::Result<Function>) -> syn::Result<(A, Function)> {
    match (args, function) {
        (Ok(args), Ok(function)) => Ok((args, function)),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
        (Err(first), Err(second)) => Err(combined(first, second)),
    }
}

impl Function {
    /// Parses the function with an attribute.
    pub(crate) fn parse_for(attribute: &Attribute, item: TokenStream) -> syn::Result<Self> {
        (|input: ParseStream<'_>| Self::parse(attribute, input)).parse2(item)
    }

    /// Generates the function with another body, by what expands a blocking one and a future.
    pub(crate) fn with_body(
        self,
        sync: impl FnOnce(&Group) -> TokenStream,
        future: impl FnOnce(&Group, Option<Move>) -> TokenStream,
    ) -> TokenStream {
        let Self { attributes, visibility, signature, body, .. } = self;
        let body = match body {
            Body::Sync(body) => sync(&body),
            Body::Async(body) => future(&body, Some(Token![move](Span::mixed_site()))),
            Body::Future(mut block) => {
                if let Some(end) = future_at_the_end(&mut block) {
                    let inside = future(&tokens(&end.block), end.capture);
                    end.block = parse_quote_spanned!(Span::mixed_site()=> { #inside });
                }
                tokens(&block).stream()
            }
        };
        quote_spanned!(Span::mixed_site()=> #(#attributes)* #visibility #signature { #body })
    }
}

/// Returns the path of the hidden module that expansions use.
pub(crate) fn private(krate: Option<&Path>) -> TokenStream {
    match krate {
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
        let (start, output, report) = (self.start(), &returns.output, self.report());
        let value = quote_spanned!(Span::mixed_site()=> (move || -> #output #body)());
        let observed = match &returns.stream {
            None => quote_spanned! {Span::mixed_site()=>
                #private::Reported::into_value(
                    #private::observe_sync(call, move || #private::Reported::new(#value, #report))
                )
            },
            Some(stream) => {
                let (opening, error_type) = (self.opening(stream, &value), self.opening_error(stream));
                self.opened(
                    stream,
                    &quote_spanned! {Span::mixed_site()=>
                        #private::observe_opening(call, move || #opening, #report, #error_type)
                    },
                )
            }
        };
        quote_spanned!(Span::mixed_site()=> let call = #start; #observed)
    }

    /// Generates the body of an async function or block.
    fn future(&self, body: &Group, capture: Option<Move>) -> TokenStream {
        let Self { private, returns, .. } = self;
        let (start, body, report) = (self.start(), typed(body, &returns.output), self.report());
        let value = quote_spanned!(Span::mixed_site()=> async #capture { #body }.await);
        let observed = match &returns.stream {
            None => {
                let reported = quote_spanned!(Span::mixed_site()=> #private::Reported::new(#value, #report));
                quote_spanned! {Span::mixed_site()=>
                    #private::Reported::into_value(#private::LlmCall::observe(call, async #capture { #reported }).await)
                }
            }
            Some(stream) => {
                let (opening, error_type) = (self.opening(stream, &value), self.opening_error(stream));
                self.opened(
                    stream,
                    &quote_spanned! {Span::mixed_site()=>
                        #private::LlmCall::observe_stream_with(call, async #capture { #opening }, #report)
                            .with_error_type(#error_type)
                            .await
                    },
                )
            }
        };
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

    /// The stream in a `Result`, as what opens it.
    fn opening(&self, stream: &Opened, value: &TokenStream) -> TokenStream {
        let private = &self.private;
        match stream.error {
            Some(_) => value.clone(),
            None => quote_spanned!(Span::mixed_site()=> #private::always(#value)),
        }
    }

    /// What classifies a failure to open the stream.
    fn opening_error(&self, stream: &Opened) -> TokenStream {
        let private = &self.private;
        match &stream.error {
            Some(error) => self.classify(error),
            None => quote_spanned!(Span::mixed_site()=> #private::never),
        }
    }

    /// The stream as the signature has it.
    fn opened(&self, stream: &Opened, observed: &TokenStream) -> TokenStream {
        let (private, ty) = (&self.private, &stream.ty);
        let mut opened = observed.clone();
        if !stream.is_opaque {
            opened = quote_spanned!(Span::mixed_site()=> #private::boxed::<#ty, _, _>(#opened));
        }
        if stream.error.is_none() {
            opened = quote_spanned!(Span::mixed_site()=> #private::opened(#opened));
        }
        opened
    }

    /// Generates the closure that records the output, or an item of the stream.
    fn report(&self) -> TokenStream {
        let Self { private, args, returns } = self;
        let reported = &returns.reported;
        if let Some(report) = &args.report {
            let ty = &reported.ty;
            let error = reported.result.as_ref().map(|(_, error)| {
                let classify = self.classify(error);
                quote_spanned! {Span::mixed_site()=>
                    if let ::core::result::Result::Err(error) = value {
                        #private::error_type(call, error, #classify);
                    }
                }
            });
            return quote_spanned! {Span::mixed_site()=>
                move |call, value| {
                    #error
                    #private::report::<#ty>(call, value, #report);
                }
            };
        }
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
            None if self.args.report.is_some() => quote_spanned!(Span::mixed_site()=> #private::unknown),
            None => quote_spanned!(Span::mixed_site()=> #private::classify::<#error>()),
        }
    }
}

/// Puts a `return` of the output type, which is never reached, before the body.
///
/// There is no other way to give an async block its type. `?` needs it for the conversion of the error, and with it a type
/// mismatch is reported in the user's code.
pub(crate) fn typed(body: &Group, output: &Type) -> TokenStream {
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
pub(crate) fn reference(expr: &Expr) -> Expr {
    Expr::Reference(ExprReference {
        attrs: Vec::new(),
        and_token: Token![&](Span::mixed_site().located_at(expr.span())),
        mutability: None,
        expr: Box::new(expr.clone()),
    })
}
