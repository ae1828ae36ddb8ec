//! Checks queries against the catalogue: each metric and label exists, and what is matched can match.

use std::collections::{BTreeMap, BTreeSet};

use botticelli_obs::{ErrorType, METRICS, Metric, MetricKind};
use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{self, BinaryExpr, Call, Expr, LabelModifier, VectorSelector, token};
use serde_json::Value;

/// The labels a result has; `None` for a scalar.
pub type Labels = Option<BTreeSet<String>>;

/// What is known of metrics: the catalogue's, Prometheus' own, and those that rules record.
pub struct Known {
    labels: BTreeMap<String, BTreeSet<String>>,
}

impl Known {
    pub fn new() -> Self {
        let mut known = Self { labels: BTreeMap::new() };
        for metric in METRICS {
            let names: &[&str] =
                if metric.kind == MetricKind::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
            for suffix in names {
                let le = (*suffix == "_bucket").then_some("le");
                known.add(&format!("{}{suffix}", metric.prometheus), metric.labels.iter().copied().chain(le));
            }
        }
        if cfg!(not(feature = "process")) {
            for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"] {
                known.add(name, []);
            }
        }
        for name in ["up", "scrape_duration_seconds", "scrape_samples_scraped"] {
            known.add(name, []);
        }
        for registry in [
            include_str!("../../../fixtures/conventions/1.41.json"),
            include_str!("../../../fixtures/conventions/genai-0.1.json"),
        ] {
            known.add_conventions(&serde_json::from_str(registry).expect("it is a registry"));
        }
        // Of pages with whole numbers.
        known.add("llm_cost_nano_usd_total", ["provider", "model", "outcome"]);
        known.add("llm_task_cost_nano_usd_total", ["task", "kind", "nested"]);
        known.add("ALERTS", ["alertname", "alertstate", "severity", "provider", "model"]);
        known
    }

    fn add<'a>(&mut self, name: &str, labels: impl IntoIterator<Item = &'a str>) {
        let labels = labels.into_iter().chain(["job", "instance"]).map(str::to_owned).collect();
        self.labels.insert(name.to_owned(), labels);
    }

    /// Adds the metrics of the GenAI conventions, by the names that Prometheus gives them.
    fn add_conventions(&mut self, registry: &Value) {
        let texts = |value: &Value| -> Vec<String> {
            value
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(|text| text.replace('.', "_"))
                .collect()
        };
        for metric in registry["metrics"].as_array().expect("there are metrics") {
            let name = metric["name"].as_str().expect("a metric has a name").replace('.', "_");
            let unit = if metric["unit"] == "s" { "_seconds" } else { "" };
            let labels = [texts(&metric["required"]), texts(&metric["optional"])].concat();
            let suffixes: &[&str] =
                if metric["instrument"] == "histogram" { &["_bucket", "_sum", "_count"] } else { &["_total"] };
            for suffix in suffixes {
                let le = (*suffix == "_bucket").then_some("le");
                self.add(&format!("{name}{unit}{suffix}"), labels.iter().map(String::as_str).chain(le));
            }
        }
    }

    /// Adds what a rule records.
    pub fn add_recorded(&mut self, name: &str, labels: Labels) {
        assert!(self.labels.insert(name.to_owned(), labels.unwrap_or_default()).is_none(), "{name} is recorded twice");
    }

    /// Returns the labels of a query's result.
    ///
    /// # Errors
    ///
    /// Where the query can't be read, or would return nothing whatever is recorded.
    pub fn check(&self, query: &str) -> Result<Labels, String> {
        self.labels_of(&parser::parse(query)?)
    }

    fn labels_of(&self, expr: &Expr) -> Result<Labels, String> {
        match expr {
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Ok(None),
            Expr::Paren(paren) => self.labels_of(&paren.expr),
            Expr::Unary(unary) => self.labels_of(&unary.expr),
            Expr::Subquery(subquery) => self.labels_of(&subquery.expr),
            Expr::VectorSelector(selector) => self.selected(selector),
            Expr::MatrixSelector(matrix) => self.selected(&matrix.vs),
            Expr::Call(call) => self.called(call),
            Expr::Binary(binary) => self.combined(binary),
            Expr::Aggregate(aggregate) => {
                let inner = self.labels_of(&aggregate.expr)?.ok_or("a scalar can't be aggregated")?;
                match &aggregate.modifier {
                    None => Ok(Some(BTreeSet::new())),
                    Some(LabelModifier::Include(by)) => {
                        let by: BTreeSet<_> = by.labels.iter().cloned().collect();
                        let unknown: Vec<_> = by.difference(&inner).collect();
                        if unknown.is_empty() {
                            Ok(Some(by))
                        } else {
                            Err(format!("{unknown:?} is not among {inner:?}"))
                        }
                    }
                    Some(LabelModifier::Exclude(_)) => {
                        Err("`without` keeps labels nobody has listed; use `by`".to_owned())
                    }
                }
            }
            Expr::Extension(_) => Err("extensions are not PromQL".to_owned()),
        }
    }

    fn selected(&self, selector: &VectorSelector) -> Result<Labels, String> {
        let name = selector.name.as_deref().ok_or("a selector without a metric's name")?;
        let labels = self.labels.get(name).ok_or_else(|| format!("there is no metric {name}"))?;
        for matcher in &selector.matchers.matchers {
            if !labels.contains(&matcher.name) {
                return Err(format!("{name} has no label {}", matcher.name));
            }
            check_values(name, matcher)?;
        }
        Ok(Some(labels.clone()))
    }

    fn called(&self, call: &Call) -> Result<Labels, String> {
        let mut vector = None;
        for argument in &call.args.args {
            vector = self.labels_of(argument)?.or(vector);
        }
        match call.func.name {
            "histogram_quantile" => {
                let mut labels = vector.ok_or("a quantile of no histogram")?;
                if labels.remove("le") { Ok(Some(labels)) } else { Err("a quantile needs the label le".to_owned()) }
            }
            // Has the labels it was asked with an equals sign.
            "absent" => Ok(Some(BTreeSet::from(["job".to_owned()]))),
            _ => Ok(vector),
        }
    }

    fn combined(&self, binary: &BinaryExpr) -> Result<Labels, String> {
        let (left, right) = (self.labels_of(&binary.lhs)?, self.labels_of(&binary.rhs)?);
        let (Some(left), Some(right)) = (left.clone(), right.clone()) else { return Ok(left.or(right)) };
        if binary.modifier.as_ref().is_some_and(|modifier| modifier.matching.is_some()) {
            return Err("`on` and `ignoring` are not needed where both sides are aggregated alike".to_owned());
        }
        let says_absent = matches!(&*binary.rhs, Expr::Call(call) if call.func.name == "absent");
        if left != right && !(binary.op.id() == token::T_LOR && says_absent) {
            return Err(format!("{left:?} can't match {right:?}"));
        }
        Ok(Some(left))
    }
}

/// Labels with a closed set of values are asked for these only.
fn check_values(name: &str, matcher: &Matcher) -> Result<(), String> {
    let asked: Vec<&str> = match &matcher.op {
        MatchOp::Equal | MatchOp::NotEqual => vec![&matcher.value],
        MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.value.split('|').collect(),
    };
    let known: Vec<String> = match matcher.name.as_str() {
        // Nothing is what a series without the label has.
        "error_type" if matcher.op == MatchOp::NotEqual && matcher.value.is_empty() => return Ok(()),
        "error_type" => ErrorType::ALL.iter().map(|error| error.as_str().to_owned()).collect(),
        "le" => {
            let histogram = |metric: &&Metric| Some(metric.prometheus) == name.strip_suffix("_bucket");
            let bounds = METRICS.iter().find(histogram).map_or(&[][..], |metric| metric.buckets);
            bounds.iter().map(f64::to_string).collect()
        }
        _ => return Ok(()),
    };
    match asked.iter().find(|value| !known.iter().any(|known| known == *value)) {
        Some(value) => Err(format!("{} is never {value:?}", matcher.name)),
        None => Ok(()),
    }
}
