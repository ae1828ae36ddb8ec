//! Analyses the return type: `Result`, stream, or any other value.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Error, Expr, GenericArgument, PathArguments, Token, Type, TypeInfer, TypeParamBound};

use crate::args::Args;

/// The result of the analysis. Each `impl Trait` in the types is replaced by `_`, so that they can be written inside a body.
pub(crate) struct Returns {
    /// The type to which the code of the call evaluates.
    pub(crate) output: Type,
    pub(crate) stream: Option<Opened>,
    /// The type that is recorded: the output, or the item of the stream.
    pub(crate) reported: Reported,
}

/// A returned stream.
pub(crate) struct Opened {
    pub(crate) ty: Type,
    /// The error type, if the stream is in a `Result`.
    pub(crate) error: Option<Type>,
    /// Whether the type is `impl Stream`. Any other stream must be boxed.
    pub(crate) is_opaque: bool,
}

/// The type that tells how the call turned out.
pub(crate) struct Reported {
    pub(crate) ty: Type,
    /// The types of value and error, if it is a `Result`.
    pub(crate) result: Option<(Type, Type)>,
}

const NO_ERROR: &str = "there is no error to classify: return a `Result`, or remove `error_type`";

impl Returns {
    pub(crate) fn new(args: &Args, output: &Type) -> syn::Result<Self> {
        let result = of_result(output);
        let (value, error) = match result {
            None => (Some(output), None),
            Some((value, error)) => (value, Some(known(error))),
        };
        let named = value.and_then(|value| Named::find(value, "Stream"));
        let (stream, reported) = match args.stream {
            None if named.is_some() => {
                let mistake = "the function returns a stream: add `stream` to the arguments of `#[llm_call]`";
                return Err(Error::new_spanned(value, mistake));
            }
            None => (None, Reported::new(Some(output))),
            Some(_) => {
                let is_opaque = matches!(value, Some(Type::ImplTrait(_)));
                let item = named.and_then(|stream| stream.associated);
                (Some(Opened { ty: known(value), error, is_opaque }), Reported::new(item))
            }
        };
        if let Some(error_type) = &args.error_type
            && result.is_none()
            && reported.result.is_none()
        {
            return Err(Error::new_spanned(error_type, NO_ERROR));
        }
        Ok(Self { output: inferred(output.clone()), stream, reported })
    }
}

impl Reported {
    /// Analyses what the run of a function returns.
    pub(crate) fn of_run(output: &Type, error_type: Option<&Expr>) -> syn::Result<Self> {
        let reported = Self::new(Some(output));
        match error_type {
            Some(error_type) if reported.result.is_none() => Err(Error::new_spanned(error_type, NO_ERROR)),
            _ => Ok(reported),
        }
    }

    fn new(ty: Option<&Type>) -> Self {
        let ty = known(ty);
        let result = of_result(&ty).map(|(value, error)| (known(value), known(error)));
        Self { result, ty }
    }
}

fn known(ty: Option<&Type>) -> Type {
    ty.cloned().map_or_else(|| infer(Span::mixed_site()), inferred)
}

fn infer(span: Span) -> Type {
    Type::Infer(TypeInfer { underscore_token: Token![_](span) })
}

/// A type that mentions a trait: `impl Stream<Item = T>`, `Pin<Box<dyn Stream<Item = T>>>`, or `BoxStream<'_, T>`.
pub(crate) struct Named<'t> {
    /// The type `T`, if it is written.
    pub(crate) associated: Option<&'t Type>,
}

impl<'t> Named<'t> {
    /// Finds a trait in a type by its name: a macro does not know what names refer to.
    pub(crate) fn find(ty: &'t Type, name: &str) -> Option<Self> {
        let bounds = match ty {
            Type::ImplTrait(ty) => &ty.bounds,
            Type::TraitObject(ty) => &ty.bounds,
            Type::Group(ty) => return Self::find(&ty.elem, name),
            Type::Paren(ty) => return Self::find(&ty.elem, name),
            Type::Path(ty) => {
                let last = ty.path.segments.last()?;
                if last.ident == "Pin" || last.ident == "Box" {
                    return Self::find(type_arguments(&last.arguments).next()?, name);
                }
                let is_boxed = last.ident.to_string().strip_suffix(name).is_some_and(|rest| rest.ends_with("Box"));
                return is_boxed.then(|| Self { associated: type_arguments(&last.arguments).last() });
            }
            _ => return None,
        };
        bounds.iter().find_map(|bound| {
            let TypeParamBound::Trait(bound) = bound else { return None };
            let last = bound.path.segments.last()?;
            let associated = arguments(&last.arguments).find_map(|argument| match argument {
                GenericArgument::AssocType(associated) => Some(&associated.ty),
                _ => None,
            });
            (last.ident == name).then_some(Self { associated })
        })
    }
}

/// Returns the type arguments of `Result<T, E>`, or of an alias whose name ends with `Result`. The type `_` is taken for a
/// `Result`, which it usually is.
fn of_result(ty: &Type) -> Option<(Option<&Type>, Option<&Type>)> {
    match ty {
        Type::Infer(_) => Some((None, None)),
        Type::Group(ty) => of_result(&ty.elem),
        Type::Paren(ty) => of_result(&ty.elem),
        Type::Path(ty) => {
            let last = ty.path.segments.last()?;
            let mut arguments = type_arguments(&last.arguments);
            last.ident.to_string().ends_with("Result").then(|| (arguments.next(), arguments.next()))
        }
        _ => None,
    }
}

fn type_arguments(of: &PathArguments) -> impl Iterator<Item = &Type> {
    arguments(of).filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

fn arguments(of: &PathArguments) -> impl Iterator<Item = &GenericArgument> {
    let arguments = match of {
        PathArguments::AngleBracketed(arguments) => Some(&arguments.args),
        _ => None,
    };
    arguments.into_iter().flatten()
}

/// Replaces each `impl Trait` in a type by `_`: inside a body it can't be written and has to be inferred.
fn inferred(mut ty: Type) -> Type {
    struct Infer;

    impl VisitMut for Infer {
        fn visit_type_mut(&mut self, ty: &mut Type) {
            if let Type::ImplTrait(_) = ty {
                *ty = infer(ty.span());
            } else {
                visit_mut::visit_type_mut(self, ty);
            }
        }
    }

    Infer.visit_type_mut(&mut ty);
    ty
}
