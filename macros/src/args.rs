//! Parses and checks the arguments of the attribute.

use proc_macro2::{Span, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Expr, ExprLit, Ident, Lit, Path, Token};

/// The kind of value that an argument takes.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// An expression that is `AsRef<str>`.
    Text,
    /// An expression that is a `Duration`.
    Duration,
    /// A closure of one parameter, or the path of a function.
    Function,
    /// The same of two parameters.
    Report,
    Path,
    /// No value.
    Flag,
}

/// The specification of an argument.
struct Spec {
    name: &'static str,
    kind: Kind,
    example: &'static str,
}

const fn spec(name: &'static str, kind: Kind, example: &'static str) -> Spec {
    Spec { name, kind, example }
}

/// All arguments. The two required ones come first.
const SPECS: [Spec; 9] = [
    spec("provider", Kind::Text, "provider = \"gemini\""),
    spec("model", Kind::Text, "model = request.model()"),
    spec("operation", Kind::Text, "operation = \"embeddings\""),
    spec("usage", Kind::Function, "usage = |reply| Some(Usage::new(reply.prompt, reply.completion))"),
    spec("error_type", Kind::Function, "error_type = |error| ErrorType::from_http_status(error.status)"),
    spec("report", Kind::Report, "report = |call, reply| call.record_finish_reason(&reply.stop)"),
    spec("timeout", Kind::Duration, "timeout = Duration::from_secs(30)"),
    spec("stream", Kind::Flag, "stream"),
    spec("crate", Kind::Path, "crate = my_crate::botticelli_obs"),
];

impl Spec {
    /// Returns an error message if the value is of another kind.
    fn mistake(&self, value: &Expr) -> Option<String> {
        let Self { name, example, .. } = self;
        let is_valid = match (self.kind, value) {
            (Kind::Text, Expr::Lit(ExprLit { lit, .. })) => matches!(lit, Lit::Str(_)),
            (Kind::Text, Expr::Closure(_)) | (Kind::Duration, Expr::Lit(_) | Expr::Closure(_)) => false,
            (Kind::Text | Kind::Duration, _) => true,
            (Kind::Function, Expr::Closure(closure)) => closure.inputs.len() == 1 && closure.asyncness.is_none(),
            (Kind::Report, Expr::Closure(closure)) => closure.inputs.len() == 2 && closure.asyncness.is_none(),
            (Kind::Function | Kind::Report | Kind::Path, Expr::Path(_)) => true,
            (Kind::Function | Kind::Report | Kind::Path | Kind::Flag, _) => false,
        };
        let takes = match self.kind {
            Kind::Text => "a string, or an expression that is `AsRef<str>`",
            Kind::Duration => "a `Duration`",
            Kind::Function => "a closure of one parameter, or a function",
            Kind::Report => "a closure of two parameters, or a function",
            Kind::Path => "a path",
            Kind::Flag => return Some(format!("`{name}` takes no value: write `{example}` alone")),
        };
        (!is_valid).then(|| format!("`{name}` takes {takes}: `{example}`"))
    }
}

/// The parsed arguments.
pub(crate) struct Args {
    pub(crate) provider: Expr,
    pub(crate) model: Expr,
    pub(crate) operation: Option<Expr>,
    pub(crate) usage: Option<Expr>,
    pub(crate) error_type: Option<Expr>,
    pub(crate) report: Option<Expr>,
    pub(crate) timeout: Option<Expr>,
    pub(crate) stream: Option<Span>,
    pub(crate) krate: Option<Path>,
}

impl Parse for Args {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut unchecked = Unchecked::default();
        while !input.is_empty() {
            unchecked.read_one(input);
        }
        unchecked.check()
    }
}

/// The arguments before the check, in the order of [`SPECS`]. Mistakes are collected, so that all of them are reported at once.
#[derive(Default)]
struct Unchecked {
    arguments: [Option<(Ident, Option<Expr>)>; SPECS.len()],
    mistakes: Vec<Error>,
    /// Whether an argument could not be identified. It may be a misspelt required one, so no argument is reported as missing.
    is_unclear: bool,
}

impl Unchecked {
    /// Reads one argument and the comma after it.
    fn read_one(&mut self, input: ParseStream<'_>) {
        if let Err(mistake) = self.read_argument(input) {
            self.mistakes.push(mistake);
            while !input.is_empty() && !input.peek(Token![,]) {
                let _: syn::Result<TokenTree> = input.parse();
            }
        }
        if !input.is_empty() && input.parse::<Token![,]>().is_err() {
            self.mistakes.push(input.error("put a comma before this argument"));
        }
    }

    fn read_argument(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        if !input.peek(Ident::peek_any) {
            self.is_unclear = true;
            return Err(input.error("arguments have names: `provider = \"gemini\", model = request.model()`"));
        }
        let name = input.call(Ident::parse_any)?;
        let Some(index) = SPECS.iter().position(|spec| name == spec.name) else {
            self.is_unclear = true;
            let names = SPECS.map(|spec| format!("`{}`", spec.name)).join(", ");
            return Err(Error::new(name.span(), format!("unknown argument `{name}`; there are {names}")));
        };
        let argument = &mut self.arguments[index];
        if argument.is_some() {
            let mistake = format!("`{name}` is given twice; remove one of them");
            self.mistakes.push(Error::new(name.span(), mistake));
        }
        let (name, value) = argument.insert((name, None));
        if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            *value = Some(input.parse()?);
        } else if SPECS[index].kind != Kind::Flag {
            return Err(Error::new(name.span(), format!("`{name}` needs a value: `{}`", SPECS[index].example)));
        }
        Ok(())
    }

    /// Checks the values and that no required argument is missing.
    fn check(mut self) -> syn::Result<Args> {
        for (spec, argument) in SPECS.iter().zip(&self.arguments) {
            if let Some((_, Some(value))) = argument
                && let Some(mistake) = spec.mistake(ungrouped(value))
            {
                self.mistakes.push(Error::new_spanned(value, mistake));
            }
        }
        let missing: Vec<_> =
            SPECS[..2].iter().zip(&self.arguments).filter(|(_, argument)| argument.is_none()).collect();
        if !missing.is_empty() && !self.is_unclear {
            let list = |part: fn(&Spec) -> &str, glue| {
                missing.iter().map(|(spec, _)| part(spec)).collect::<Vec<_>>().join(glue)
            };
            let (names, examples) = (list(|spec| spec.name, "` and `"), list(|spec| spec.example, ", "));
            self.mistakes
                .push(Error::new(Span::call_site(), format!("`#[llm_call]` needs `{names}`: add `{examples}`")));
        }
        let [provider, model, operation, usage, error_type, report, timeout, stream, krate] = self.arguments;
        if let (Some((name, _)), Some(_)) = (&usage, &report) {
            let mistake = "`report` records the usage too: remove `usage`, and call `call.record_usage` there";
            self.mistakes.push(Error::new(name.span(), mistake));
        }
        let value = |argument: Option<(Ident, Option<Expr>)>| argument.and_then(|(_, value)| value);
        match (value(provider), value(model), self.mistakes.into_iter().reduce(combined)) {
            (Some(provider), Some(model), None) => Ok(Args {
                provider,
                model,
                operation: value(operation),
                usage: value(usage),
                error_type: value(error_type),
                report: value(report),
                timeout: value(timeout),
                stream: stream.map(|(name, _)| name.span()),
                krate: value(krate).and_then(into_path),
            }),
            (_, _, mistakes) => Err(mistakes.unwrap_or_else(|| Error::new(Span::call_site(), "arguments are missing"))),
        }
    }
}

/// Combines two errors into one, which reports both.
pub(crate) fn combined(mut first: Error, second: Error) -> Error {
    first.combine(second);
    first
}

fn into_path(value: Expr) -> Option<Path> {
    match value {
        Expr::Path(path) => Some(path.path),
        Expr::Group(group) => into_path(*group.expr),
        _ => None,
    }
}

/// Removes the invisible group around an expression that comes from a `macro_rules!` parameter.
fn ungrouped(value: &Expr) -> &Expr {
    match value {
        Expr::Group(group) => ungrouped(&group.expr),
        value => value,
    }
}
