//! Parses the annotated function and checks that it can be recorded.

use proc_macro2::{Delimiter, Group, TokenTree};
use syn::parse::ParseStream;
use syn::{
    AttrStyle, Block, Error, Expr, ExprAsync, ReturnType, Signature, Stmt, Token, Type, Visibility, parse_quote,
    parse_quote_spanned,
};

use crate::args::Attribute;
use crate::returns::Named;

/// A function. Its body is kept as tokens and not parsed, unless it ends with a future that makes the call.
pub(crate) struct Function {
    pub(crate) attributes: Vec<syn::Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: Body,
    /// The type to which the code of the call evaluates: for a future, its output.
    pub(crate) output: Type,
}

/// The part of the function that makes the call.
pub(crate) enum Body {
    /// The whole body of a blocking function.
    Sync(Group),
    /// The whole body of an `async fn`.
    Async(Group),
    /// The future at the end of the body: `#[async_trait]` expands an `async fn` to this, and some functions are written so by
    /// hand.
    Future(Block),
}

impl Function {
    pub(crate) fn parse(attribute: &Attribute, input: ParseStream<'_>) -> syn::Result<Self> {
        let Attribute { name, makes, .. } = attribute;
        let mut attributes = input.call(syn::Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let fork = input.fork();
        let Ok(signature) = fork.parse::<Signature>() else {
            let mistake = format!("`#[{name}]` goes on a function: move it to the one that makes the {makes}");
            return Err(input.error(mistake));
        };
        let _: Signature = input.parse()?;
        if input.peek(Token![;]) {
            let semicolon = input.parse::<Token![;]>()?;
            let mistake = format!("`#[{name}]` needs a body: move it to the function that has one, in the `impl`");
            return Err(Error::new(semicolon.span, mistake));
        }
        let body = braces(input, &mut attributes)?;
        check_keywords(attribute, &signature)?;
        let output = match &signature.output {
            ReturnType::Default => parse_quote_spanned!(signature.ident.span()=> ()),
            ReturnType::Type(_, ty) if matches!(**ty, Type::Never(_)) => {
                let mistake =
                    format!("a function that never returns makes no {makes}: move `#[{name}]` to the one that does");
                return Err(Error::new_spanned(ty, mistake));
            }
            ReturnType::Type(_, ty) => Type::clone(ty),
        };
        let (body, output) = if signature.asyncness.is_some() {
            (Body::Async(body), output)
        } else if let Some(block) = with_future_at_the_end(&body) {
            let future = Named::find(&output, "Future").and_then(|future| future.associated);
            (Body::Future(block), future.cloned().unwrap_or_else(|| parse_quote!(_)))
        } else if Named::find(&output, "Future").is_some() {
            let mistake = format!(
                "the {makes} is in the future: make this an `async fn`, or let it end with `Box::pin(async move {{ … }})`"
            );
            return Err(Error::new_spanned(output, mistake));
        } else {
            (Body::Sync(body), output)
        };
        Ok(Self { attributes, visibility, signature, body, output })
    }
}

/// Reads the body. Its inner attributes become outer attributes of the function, because the body becomes a nested block, which
/// can't have inner ones.
fn braces(input: ParseStream<'_>, attributes: &mut Vec<syn::Attribute>) -> syn::Result<Group> {
    let content;
    let braces = syn::braced!(content in input);
    let inner = content.call(syn::Attribute::parse_inner)?;
    attributes.extend(inner.into_iter().map(|attribute| syn::Attribute { style: AttrStyle::Outer, ..attribute }));
    let mut group = Group::new(Delimiter::Brace, content.parse()?);
    group.set_span(braces.span.join());
    Ok(group)
}

fn check_keywords(attribute: &Attribute, signature: &Signature) -> syn::Result<()> {
    if let Some(keyword) = &signature.constness {
        return Err(Error::new(keyword.span, "a `const fn` can't be recorded: remove `const`"));
    }
    if let Some(abi) = &signature.abi {
        let mistake = format!(
            "a function with a foreign ABI can't be recorded: call a Rust function from it, and move `#[{}]` there",
            attribute.name
        );
        return Err(Error::new_spanned(abi, mistake));
    }
    Ok(())
}

/// Parses the body if it ends with `async move { … }` or `Box::pin(async move { … })`.
fn with_future_at_the_end(body: &Group) -> Option<Block> {
    let mut block: Block = syn::parse2(TokenTree::from(body.clone()).into()).ok()?;
    future_at_the_end(&mut block).is_some().then_some(block)
}

/// Returns the async block at the end of a body: `async move { … }`, or `Box::pin(async move { … })`.
pub(crate) fn future_at_the_end(block: &mut Block) -> Option<&mut ExprAsync> {
    let Some(Stmt::Expr(tail, None)) = block.stmts.last_mut() else { return None };
    match tail {
        Expr::Async(future) => Some(future),
        Expr::Call(call) if is_box_pin(&call.func) => match call.args.last_mut() {
            Some(Expr::Async(future)) => Some(future),
            _ => None,
        },
        _ => None,
    }
}

fn is_box_pin(function: &Expr) -> bool {
    let Expr::Path(path) = function else { return false };
    let mut names = path.path.segments.iter().rev().map(|segment| &segment.ident);
    names.next().is_some_and(|name| name == "pin") && names.next().is_some_and(|name| name == "Box")
}
