//! Every variable and every option: what is used, what is refused by name, and what comes before what.
//!
//! The variables stand in tables, one row a variable, and each rule that holds for all of them is one test here.

mod code;
mod metrics;
#[cfg(feature = "_otlp")]
mod otlp;
mod precedence;
mod process;
mod properties;
mod traces;

use super::{Builder, Environment, InstallError, Plan};
use crate::{scrape, spans};

/// A variable as the documentation has it.
#[derive(Clone, Copy, Debug)]
struct Variable {
    name: &'static str,
    /// What must be set beside it for it to be read.
    beside: &'static [(&'static str, &'static str)],
    /// What a plan makes of it.
    shown: fn(&Plan) -> String,
    default: &'static str,
    /// Values, each with what becomes of it.
    valid: &'static [(&'static str, &'static str)],
    invalid: &'static [&'static str],
}

impl Variable {
    /// The plan for this value of the variable.
    fn plan(&self, value: &str) -> Result<Plan, InstallError> {
        let set = [(self.name, value)];
        plan(self.beside.iter().chain(&set).copied())
    }
}

/// All rows of all tables; a variable that means different things beside different others has several.
fn variables() -> impl Iterator<Item = Variable> {
    let rows = [metrics::VARIABLES, traces::VARIABLES, process::VARIABLES].concat();
    #[cfg(feature = "_otlp")]
    let rows = [rows.as_slice(), otlp::VARIABLES].concat();
    rows.into_iter()
}

/// The plan of these variables alone, or the first of its errors.
fn plan<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Plan, InstallError> {
    plan_of(&Builder::new(), variables)
}

fn plan_of<'a>(
    builder: &Builder,
    variables: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Plan, InstallError> {
    whole(Plan::resolve(builder, &Environment::from_iter(variables)))
}

fn whole(plan: Result<Plan, InstallError>) -> Result<Plan, InstallError> {
    let mut plan = plan?;
    std::mem::take(&mut plan.faults).into_result()?;
    Ok(plan)
}

/// The page's configuration, where the page is on.
fn page(plan: &Plan) -> &scrape::Config {
    plan.metrics.as_ref().expect("metrics are on")
}

/// The spans' configuration, where they are exported.
fn spans(plan: &Plan) -> &spans::Config {
    plan.traces.as_ref().expect("traces are on")
}

/// Where spans go, as the log says it.
fn backend(plan: &Plan) -> String {
    plan.traces.as_ref().map_or("none".to_owned(), |config| config.backend.to_string())
}

/// Asserts that this is an error about the setting of this name, and returns its text.
fn names(name: &str, result: Result<Plan, InstallError>) -> String {
    let error = result.err().unwrap_or_else(|| panic!("{name} is not refused"));
    let text = error.to_string();
    assert!(error.is_invalid_setting(), "{text}");
    assert!(is_about(name, &text), "{name}: {text}");
    text
}

fn is_about(name: &str, text: &str) -> bool {
    text.strip_prefix(name).is_some_and(|rest| rest.starts_with(['=', ':']))
}

/// In full, or by an ending such as `_ARG`; the signals' own names stand there as a rule.
#[test]
fn the_readme_names_every_variable() {
    let readme = include_str!("../../../README.md");
    let table = readme.split("\n## ").find(|section| section.starts_with("Variables")).expect("it has the section");
    for variable in variables() {
        let name = variable.name.replace("_OTLP_TRACES_", "_OTLP_").replace("_OTLP_METRICS_", "_OTLP_");
        let is_named = |at: usize| table.contains(&format!("`{}`", &name[at..]));
        assert!(is_named(0) || name.match_indices('_').any(|(at, _)| is_named(at)), "{name} is not in the README");
    }
}

#[test]
fn valid_values_are_used() {
    for variable in variables() {
        for (value, expected) in variable.valid {
            let plan = variable.plan(value).unwrap_or_else(|error| panic!("{value:?} is refused: {error}"));
            assert_eq!((variable.shown)(&plan), *expected, "{}={value:?}", variable.name);
        }
    }
}

#[test]
fn values_are_used_without_the_blanks_around_them() {
    for variable in variables() {
        for (value, expected) in variable.valid {
            let padded = format!(" \t{value}\n");
            let plan = variable.plan(&padded).unwrap_or_else(|error| panic!("{padded:?} is refused: {error}"));
            assert_eq!((variable.shown)(&plan), *expected, "{}={padded:?}", variable.name);
        }
    }
}

#[test]
fn invalid_values_are_refused_by_name_and_with_a_reason() {
    for variable in variables() {
        for value in variable.invalid {
            let text = names(variable.name, variable.plan(value));
            assert!(!text.ends_with([':', ' ']) && !text.contains('\n'), "{text}");
        }
    }
}

#[test]
fn a_blank_variable_is_an_unset_one() {
    for variable in variables() {
        for blank in ["", " ", "\t \n"] {
            let plan = variable.plan(blank).unwrap_or_else(|error| panic!("{blank:?} is refused: {error}"));
            assert_eq!((variable.shown)(&plan), variable.default, "{}={blank:?}", variable.name);
        }
        let unset = plan(variable.beside.iter().copied()).expect("what stands beside is valid");
        assert_eq!((variable.shown)(&unset), variable.default, "{} unset", variable.name);
    }
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_unicode_is_refused_without_being_shown() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    for variable in variables() {
        let beside = variable.beside.iter().map(|&(name, value)| (name, value.into()));
        let value = OsString::from_vec(b"s3cret\xff".to_vec());
        let environment = beside.chain([(variable.name, value)]).collect();
        let text = names(variable.name, whole(Plan::resolve(&Builder::new(), &environment)));
        assert!(text.contains("Unicode") && !text.contains("s3cret"), "{text}");
    }
}
