//! Tests of all environment variables and builder options: valid values, refused values and precedence.
//!
//! The variables are in tables with one row each. The tests in this file check rules that hold for all rows.

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

/// The documented behaviour of an environment variable.
#[derive(Clone, Copy, Debug)]
struct Variable {
    name: &'static str,
    /// The variables that must also be set, so that this one is used.
    with: &'static [(&'static str, &'static str)],
    /// Returns the resolved setting as text.
    shown: fn(&Plan) -> String,
    /// The text of the resolved setting when the variable is unset.
    default: &'static str,
    /// Valid values, each with the text of the resolved setting.
    valid: &'static [(&'static str, &'static str)],
    invalid: &'static [&'static str],
}

impl Variable {
    /// Resolves the plan for this value of the variable.
    fn plan(&self, value: &str) -> Result<Plan, InstallError> {
        let set = [(self.name, value)];
        plan(self.with.iter().chain(&set).copied())
    }
}

/// Returns the rows of all tables. A variable has several rows if its meaning depends on other variables.
fn variables() -> impl Iterator<Item = Variable> {
    let rows = [metrics::VARIABLES, traces::VARIABLES, process::VARIABLES].concat();
    #[cfg(feature = "_otlp")]
    let rows = [rows.as_slice(), otlp::VARIABLES].concat();
    rows.into_iter()
}

/// Resolves the plan of these variables alone. Returns its first fault as an error.
fn plan<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Plan, InstallError> {
    plan_of(&Builder::new(), variables)
}

fn plan_of<'a>(
    builder: &Builder,
    variables: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Plan, InstallError> {
    without_faults(Plan::resolve(builder, &Environment::from_iter(variables)))
}

/// Returns the first fault of a plan as an error.
fn without_faults(plan: Result<Plan, InstallError>) -> Result<Plan, InstallError> {
    let mut plan = plan?;
    std::mem::take(&mut plan.faults).into_result()?;
    Ok(plan)
}

/// Returns the configuration of the metrics, which must be on.
fn page(plan: &Plan) -> &scrape::Config {
    plan.metrics.as_ref().expect("metrics are on")
}

/// Returns the configuration of the spans, which must be exported.
fn spans(plan: &Plan) -> &spans::Config {
    plan.traces.as_ref().expect("traces are on")
}

/// Returns where spans are exported, as text for the log.
fn backend(plan: &Plan) -> String {
    plan.traces.as_ref().map_or("none".to_owned(), |config| config.backend.to_string())
}

/// Asserts that the plan is an error about the setting of this name, and returns its text.
fn assert_refused(name: &str, result: Result<Plan, InstallError>) -> String {
    let error = result.err().unwrap_or_else(|| panic!("{name} is not refused"));
    let text = error.to_string();
    assert!(error.is_invalid_setting(), "{text}");
    assert!(is_about(name, &text), "{name}: {text}");
    text
}

fn is_about(name: &str, text: &str) -> bool {
    text.strip_prefix(name).is_some_and(|rest| rest.starts_with(['=', ':']))
}

/// The README has each variable in full, or its ending such as `_ARG`. It describes the variables of single signals by a rule.
#[test]
fn the_readme_names_every_variable() {
    let readme = include_str!("../../../README.md");
    let table = readme.split("\n## ").find(|section| section.starts_with("Variables")).expect("it has the section");
    for variable in variables() {
        let name = variable.name;
        let of_all_signals = name.replace("_OTLP_TRACES_", "_OTLP_").replace("_OTLP_METRICS_", "_OTLP_");
        let is_named = |name: &str| table.contains(&format!("`{name}`"));
        let is_found = |name: &str| is_named(name) || name.match_indices('_').any(|(at, _)| is_named(&name[at..]));
        assert!(is_found(name) || is_found(&of_all_signals), "{name} is not in the README");
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
            let text = assert_refused(variable.name, variable.plan(value));
            assert!(!text.ends_with([':', ' ']) && !text.contains('\n'), "{text}");
        }
    }
}

/// A unit, a sign or a decimal point is a frequent mistake: the error says which numbers there are.
#[test]
fn a_number_that_is_refused_is_told_with_the_range() {
    for (name, value, range) in [
        ("OTEL_BSP_SCHEDULE_DELAY", "5s", "of milliseconds from 1 to 86400000"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1e4", "of spans from 1 to 1000000"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "-1", "from 0 to 4294967295"),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "99999", "from 0 to 65535"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "0", "of milliseconds from 1 to 86400000"),
    ] {
        let text = assert_refused(name, plan([(name, value)]));
        assert!(text.ends_with(&format!("not a whole number {range}")), "{text}");
    }
}

#[test]
fn variables_of_the_specification_that_are_not_read_are_told_of() {
    for name in Environment::UNREAD {
        let plan = plan([(*name, "file.yaml")]).expect("it is no error");
        assert_eq!(plan.oddities, [format!("{name} is set, but not read by this crate")]);
    }
    assert!(plan([(Environment::UNREAD[0], "")]).expect("valid").oddities.is_empty());
}

#[test]
fn a_blank_variable_is_an_unset_one() {
    for variable in variables() {
        for blank in ["", " ", "\t \n"] {
            let plan = variable.plan(blank).unwrap_or_else(|error| panic!("{blank:?} is refused: {error}"));
            assert_eq!((variable.shown)(&plan), variable.default, "{}={blank:?}", variable.name);
        }
        let unset = plan(variable.with.iter().copied()).expect("the other variables are valid");
        assert_eq!((variable.shown)(&unset), variable.default, "{} unset", variable.name);
    }
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_unicode_is_refused_without_being_shown() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    for variable in variables() {
        let with = variable.with.iter().map(|&(name, value)| (name, value.into()));
        let value = OsString::from_vec(b"s3cret\xff".to_vec());
        let environment = with.chain([(variable.name, value)]).collect();
        let text = assert_refused(variable.name, without_faults(Plan::resolve(&Builder::new(), &environment)));
        assert!(text.contains("Unicode") && !text.contains("s3cret"), "{text}");
    }
}
