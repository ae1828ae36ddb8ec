//! Parses and checks the arguments of the attributes.

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
    /// Any expression.
    Value,
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

/// An attribute with its arguments, of which the required ones come first.
pub(crate) struct Attribute {
    pub(crate) name: &'static str,
    /// What a function with this attribute makes, for errors.
    pub(crate) makes: &'static str,
    specs: &'static [Spec],
    required: usize,
}

const ERROR_TYPE: Spec =
    spec("error_type", Kind::Function, "error_type = |error| ErrorType::from_http_status(error.status)");

const CRATE: Spec = spec("crate", Kind::Path, "crate = my_crate::botticelli_obs");

pub(crate) const LLM_CALL: Attribute = Attribute {
    name: "llm_call",
    makes: "call",
    specs: &[
        spec("provider", Kind::Text, "provider = \"gemini\""),
        spec("model", Kind::Text, "model = request.model()"),
        spec("operation", Kind::Text, "operation = \"embeddings\""),
        spec("usage", Kind::Function, "usage = |reply| Some(Usage::new(reply.prompt, reply.completion))"),
        ERROR_TYPE,
        spec("report", Kind::Report, "report = |call, reply| call.record_finish_reason(&reply.stop)"),
        spec("timeout", Kind::Duration, "timeout = Duration::from_secs(30)"),
        spec("stream", Kind::Flag, "stream"),
        CRATE,
    ],
    required: 2,
};

pub(crate) const LLM_TASK: Attribute = Attribute {
    name: "llm_task",
    makes: "run of a task",
    specs: &[
        spec("name", Kind::Text, "name = \"content_generator\""),
        spec("kind", Kind::Text, "kind = \"bot\""),
        spec("conversation_id", Kind::Text, "conversation_id = session.id()"),
        spec("workflow", Kind::Flag, "workflow"),
        ERROR_TYPE,
        CRATE,
    ],
    required: 0,
};

pub(crate) const LLM_TOOL: Attribute = Attribute {
    name: "llm_tool",
    makes: "tool call",
    specs: &[
        spec("name", Kind::Text, "name = \"search\""),
        spec("arguments", Kind::Value, "arguments = query"),
        spec("call_id", Kind::Text, "call_id = request.id()"),
        ERROR_TYPE,
        CRATE,
    ],
    required: 0,
};

impl Spec {
    /// Returns an error message if the value is of another kind.
    fn mistake(&self, value: &Expr) -> Option<String> {
        let Self { name, example, .. } = self;
        let is_valid = match (self.kind, value) {
            (Kind::Text, Expr::Lit(ExprLit { lit, .. })) => matches!(lit, Lit::Str(_)),
            (Kind::Text, Expr::Closure(_)) | (Kind::Duration, Expr::Lit(_) | Expr::Closure(_)) => false,
            (Kind::Text | Kind::Duration | Kind::Value, _) => true,
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
            Kind::Value => "an expression",
            Kind::Flag => return Some(format!("`{name}` takes no value: write `{example}` alone")),
        };
        (!is_valid).then(|| format!("`{name}` takes {takes}: `{example}`"))
    }
}

/// The parsed arguments of `#[llm_call]`.
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
        let mut arguments = Arguments::read(&LLM_CALL, input);
        if let (Some(usage), true) = (arguments.name("usage"), arguments.name("report").is_some()) {
            let mistake = "`report` records the usage too: remove `usage`, and call `call.record_usage` there";
            arguments.mistakes.push(Error::new(usage.span(), mistake));
        }
        arguments.check()?;
        let missing = || Error::new(Span::call_site(), "arguments are missing");
        Ok(Self {
            provider: arguments.value("provider").ok_or_else(missing)?,
            model: arguments.value("model").ok_or_else(missing)?,
            operation: arguments.value("operation"),
            usage: arguments.value("usage"),
            error_type: arguments.value("error_type"),
            report: arguments.value("report"),
            timeout: arguments.value("timeout"),
            stream: arguments.name("stream").map(Ident::span),
            krate: arguments.value("crate").and_then(into_path),
        })
    }
}

/// The arguments of an attribute. Mistakes are collected, so that all of them are reported at once.
pub(crate) struct Arguments {
    attribute: &'static Attribute,
    /// In the order of the attribute's specifications.
    arguments: Vec<Option<(Ident, Option<Expr>)>>,
    mistakes: Vec<Error>,
    /// Whether an argument could not be identified. It may be a misspelt required one, so no argument is reported as missing.
    is_unclear: bool,
}

impl Arguments {
    /// Parses and checks arguments.
    pub(crate) fn parse(attribute: &'static Attribute, input: ParseStream<'_>) -> syn::Result<Self> {
        let mut arguments = Self::read(attribute, input);
        arguments.check()?;
        Ok(arguments)
    }

    /// Returns the name of an argument as it was given.
    fn name(&self, name: &str) -> Option<&Ident> {
        let at = self.attribute.specs.iter().position(|spec| spec.name == name)?;
        self.arguments[at].as_ref().map(|(name, _)| name)
    }

    /// Whether an argument was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.name(name).is_some()
    }

    /// Takes the value of an argument.
    pub(crate) fn value(&mut self, name: &str) -> Option<Expr> {
        let at = self.attribute.specs.iter().position(|spec| spec.name == name)?;
        self.arguments[at].as_mut()?.1.take()
    }

    /// Takes the path of this crate.
    pub(crate) fn krate(&mut self) -> Option<Path> {
        self.value("crate").and_then(into_path)
    }

    /// Reads all arguments, and checks their values.
    fn read(attribute: &'static Attribute, input: ParseStream<'_>) -> Self {
        let arguments = attribute.specs.iter().map(|_| None).collect();
        let mut read = Self { attribute, arguments, mistakes: Vec::new(), is_unclear: false };
        while !input.is_empty() {
            read.read_one(input);
        }
        for (spec, argument) in attribute.specs.iter().zip(&read.arguments) {
            if let Some((_, Some(value))) = argument
                && let Some(mistake) = spec.mistake(ungrouped(value))
            {
                read.mistakes.push(Error::new_spanned(value, mistake));
            }
        }
        let missing: Vec<_> =
            attribute.required().zip(&read.arguments).filter(|(_, argument)| argument.is_none()).collect();
        if !missing.is_empty() && !read.is_unclear {
            let list = |part: fn(&Spec) -> &str, glue| {
                missing.iter().map(|(spec, _)| part(spec)).collect::<Vec<_>>().join(glue)
            };
            let (names, examples) = (list(|spec| spec.name, "` and `"), list(|spec| spec.example, ", "));
            let mistake = format!("`#[{}]` needs `{names}`: add `{examples}`", attribute.name);
            read.mistakes.push(Error::new(Span::call_site(), mistake));
        }
        read
    }

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
            let examples = &self.attribute.specs[..self.attribute.required.max(1)];
            let examples: Vec<&str> = examples.iter().map(|spec| spec.example).collect();
            return Err(input.error(format!("arguments have names: `{}`", examples.join(", "))));
        }
        let name = input.call(Ident::parse_any)?;
        let specs = self.attribute.specs;
        let Some(index) = specs.iter().position(|spec| name == spec.name) else {
            self.is_unclear = true;
            let names: Vec<String> = specs.iter().map(|spec| format!("`{}`", spec.name)).collect();
            let mistake = format!("unknown argument `{name}`; there are {}", names.join(", "));
            return Err(Error::new(name.span(), mistake));
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
        } else if specs[index].kind != Kind::Flag {
            return Err(Error::new(name.span(), format!("`{name}` needs a value: `{}`", specs[index].example)));
        }
        Ok(())
    }

    fn check(&mut self) -> syn::Result<()> {
        self.mistakes.drain(..).reduce(combined).map_or(Ok(()), Err)
    }
}

impl Attribute {
    fn required(&self) -> impl Iterator<Item = &Spec> {
        self.specs[..self.required].iter()
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
