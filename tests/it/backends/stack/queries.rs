//! The queries of the stack's dashboards and rules, from the files as they are shipped.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// Why there is a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Panel,
    /// `label_values(…)`, as a query that groups by the label.
    Variable,
    Annotation,
    Recording,
    Alert,
}

/// One query and where it stands.
#[derive(Clone, Debug)]
pub struct Query {
    pub purpose: Purpose,
    /// The dashboard and the panel, or the name of the rule.
    pub place: String,
    pub expr: String,
}

/// A file of the stack.
pub fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "examples/stack", name].iter().collect()
}

pub fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Reads a YAML file.
pub fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The names of the files in a folder of the stack, with the folder's.
pub fn files(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(path(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let names = entries.map(|entry| entry.expect("the folder can be read").file_name());
    let mut names: Vec<_> = names.map(|name| format!("{folder}/{}", name.to_string_lossy())).collect();
    names.sort();
    assert!(!names.is_empty(), "{folder} is empty");
    names
}

/// The elements of an array, or none.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub fn dashboards() -> Vec<Value> {
    let files = files("grafana/dashboards");
    files.iter().map(|name| serde_json::from_str(&read(name)).expect("a dashboard is JSON")).collect()
}

/// The rules of all files, in their order of evaluation.
pub fn rules() -> Vec<Value> {
    let mut names = files("prometheus/rules");
    // Recording rules come first: alerts ask for what they record.
    names.sort_by_key(|name| !name.contains("recording"));
    let files = names.iter().map(|name| yaml(name));
    files.flat_map(|file| list(&file["groups"]).to_vec()).flat_map(|group| list(&group["rules"]).to_vec()).collect()
}

/// Every query of every dashboard.
pub fn of_dashboards() -> Vec<Query> {
    let mut queries = Vec::new();
    for dashboard in dashboards() {
        let title = text(&dashboard["title"]);
        let mut add = |purpose, place: &str, expr: &str| {
            queries.push(Query { purpose, place: format!("{title}: {place}"), expr: substitute(expr) });
        };
        for panel in list(&dashboard["panels"]) {
            for target in list(&panel["targets"]) {
                add(Purpose::Panel, text(&panel["title"]), text(&target["expr"]));
            }
        }
        for annotation in list(&dashboard["annotations"]["list"]) {
            add(Purpose::Annotation, text(&annotation["name"]), text(&annotation["target"]["expr"]));
        }
        for variable in list(&dashboard["templating"]["list"]).iter().filter(|variable| variable["type"] == "query") {
            let query = text(&variable["query"]["query"]);
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (expr, label) =
                inner.and_then(|inner| inner.rsplit_once(", ")).expect("a variable asks for label values");
            add(Purpose::Variable, text(&variable["name"]), &format!("group by ({label}) ({expr})"));
        }
    }
    queries
}

/// Every query of every rule, in their order of evaluation.
pub fn of_rules() -> Vec<Query> {
    let queries = rules().into_iter().map(|rule| {
        let (purpose, name) = match rule["record"].as_str() {
            Some(name) => (Purpose::Recording, name),
            None => (Purpose::Alert, text(&rule["alert"])),
        };
        Query { purpose, place: name.to_owned(), expr: text(&rule["expr"]).to_owned() }
    });
    queries.collect()
}

/// Puts values in the place of variables as Grafana does, where everything is chosen and the scrape interval is 15 s.
pub fn substitute(expr: &str) -> String {
    let values = [("$__rate_interval", "1m"), ("$__range", "24h")];
    let expr = values.iter().fold(expr.to_owned(), |expr, (name, value)| expr.replace(name, value));
    ["$job", "$instance", "$provider", "$model", "$kind", "$task"]
        .iter()
        .fold(expr, |expr, name| expr.replace(name, ".*"))
}
