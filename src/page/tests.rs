use proptest::prelude::*;

use super::{Distribution, Family, Page, Series, Value};
use crate::catalog::MetricKind;

const PAGE: &str = r#"# HELP llm_requests_total Calls.
# TYPE llm_requests_total counter
llm_requests_total{provider="gemini",model="a \"b\" c"} 3
llm_requests_total 1

# TYPE llm_duration histogram
llm_duration_bucket{provider="gemini",le="0.5"} 2
llm_duration_bucket{provider="gemini",le="+Inf"} 3
llm_duration_sum{provider="gemini"} 1.5
llm_duration_count{provider="gemini"} 3
# TYPE llm_in_flight gauge
llm_in_flight -0.5
"#;

fn page(text: &str) -> Page {
    Page::parse(text).expect("the page can be read")
}

#[test]
fn a_page_is_read_with_kinds_labels_and_values() {
    let page = page(PAGE);
    let requests = page.family("llm_requests_total").expect("it is there");
    assert_eq!((requests.kind, requests.help.as_str()), (MetricKind::Counter, "Calls."));
    assert_eq!(requests.series[0].label("model"), r#"a "b" c"#);
    assert_eq!(
        requests.series.iter().map(|series| &series.value).collect::<Vec<_>>(),
        [&Value::Counter(3), &Value::Counter(1)]
    );
    let duration = Distribution { buckets: vec![(0.5, 2), (f64::INFINITY, 3)], sum: 1.5 };
    assert_eq!(page.families[1].series[0].value, Value::Histogram(duration));
    assert_eq!(page.families[2].series[0].value, Value::Gauge(-0.5));
}

#[test]
fn what_no_page_of_ours_has_is_refused_with_its_line() {
    for (text, why) in [
        ("llm_requests_total 1", "line 1"),
        ("# TYPE a summary", "line 1"),
        ("# TYPE a counter\na 1\n# TYPE a counter", "line 3"),
        ("# TYPE a counter\na 1.5", "line 2"),
        ("# TYPE a counter\na -1", "line 2"),
        ("# TYPE a counter\na 1 1700000000000", "line 2"),
        ("# TYPE a counter\nb 1", "line 2"),
        ("# TYPE a counter\na{b=\"c} 1", "line 2"),
        ("# TYPE a counter\na{b=\"c\"", "line 2"),
        ("# TYPE a counter\na", "line 2"),
        ("# TYPE a counter\na 1\na 2", "twice"),
        ("# TYPE a counter\na{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 2", "twice"),
        ("# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1", "last bucket"),
        ("# TYPE a histogram\na_bucket{le=\"2\"} 1\na_bucket{le=\"1\"} 1", "line 3"),
        ("# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1", "line 3"),
        ("# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 2", "line 4"),
        ("# TYPE a histogram\na_sum{le=\"1\"} 1", "line 2"),
        ("<html>", "line 1"),
    ] {
        let error = Page::parse(text).expect_err(text);
        assert!(error.contains(why), "{text:?}: {error}");
    }
}

#[test]
fn runs_add_up_and_gauges_take_the_later_value() {
    let mut total = page(PAGE);
    let later = PAGE.replace("-0.5", "2").replace("llm_requests_total 1", "llm_requests_total{model=\"new\"} 7");
    total.add(page(&later)).expect("the kinds agree");
    let values: Vec<&Value> = total.families[0].series.iter().map(|series| &series.value).collect();
    assert_eq!(values, [&Value::Counter(6), &Value::Counter(1), &Value::Counter(7)]);
    let duration = Distribution { buckets: vec![(0.5, 4), (f64::INFINITY, 6)], sum: 3.0 };
    assert_eq!(total.families[1].series[0].value, Value::Histogram(duration));
    assert_eq!(total.families[2].series[0].value, Value::Gauge(2.0));
}

#[test]
fn runs_with_other_bounds_add_up_where_both_know_their_counts() {
    let distribution = |buckets: &[(f64, u64)]| Distribution { buckets: buckets.to_vec(), sum: 1.0 };
    let mut total = distribution(&[(1.0, 2), (2.0, 3), (f64::INFINITY, 5)]);
    total.add(&distribution(&[(2.0, 10), (4.0, 11), (f64::INFINITY, 12)]));
    assert_eq!(total, Distribution { buckets: vec![(2.0, 13), (f64::INFINITY, 17)], sum: 2.0 });
}

#[test]
fn a_metric_that_has_changed_its_kind_is_not_added() {
    let mut total = page(PAGE);
    let later = page("# TYPE new counter\nnew 1\n# TYPE llm_in_flight counter\nllm_in_flight 1");
    assert_eq!(total.add(later), Err("llm_in_flight".to_owned()));
    assert_eq!(total, page(PAGE), "nothing was added");
}

#[test]
fn quantiles_are_those_of_promql() {
    let distribution = Distribution { buckets: vec![(1.0, 0), (2.0, 10), (4.0, 20), (f64::INFINITY, 22)], sum: 0.0 };
    // histogram_quantile(0.5, …) by hand: rank 11 is a tenth into the bucket from 2 to 4.
    assert_eq!(distribution.quantile(0.5), Some(2.2));
    assert_eq!(distribution.quantile(0.25), Some(1.55));
    assert_eq!(distribution.quantile(1.0), Some(4.0), "beyond the last bound");
    assert_eq!(Distribution::default().quantile(0.5), None);
    assert_eq!(Distribution { buckets: vec![(1.0, 0), (f64::INFINITY, 0)], sum: 0.0 }.quantile(0.5), None);
}

fn labels() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::btree_map("[a-k_]{1,4}", any::<String>(), 0..3).prop_map(|labels| labels.into_iter().collect())
}

fn value(kind: MetricKind) -> BoxedStrategy<Value> {
    match kind {
        MetricKind::Counter => any::<u64>().prop_map(Value::Counter).boxed(),
        MetricKind::Gauge => any::<f64>().prop_map(Value::Gauge).boxed(),
        MetricKind::Histogram => (prop::collection::vec((1u32..100, 0u64..100), 0..5), any::<f64>())
            .prop_map(|(steps, sum)| {
                let (mut bound, mut count) = (0.0, 0);
                let mut buckets: Vec<(f64, u64)> = Vec::new();
                for (step, more) in steps {
                    (bound, count) = (bound + f64::from(step) / 8.0, count + more);
                    buckets.push((bound, count));
                }
                buckets.push((f64::INFINITY, count + 1));
                Value::Histogram(Distribution { buckets, sum })
            })
            .boxed(),
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        families in prop::collection::btree_map(
            "[a-z]{1,6}",
            prop_oneof![Just(MetricKind::Counter), Just(MetricKind::Gauge), Just(MetricKind::Histogram)].prop_flat_map(
                |kind| (Just(kind), prop::collection::btree_map(labels(), value(kind), 0..4))
            ),
            0..4
        )
    ) {
        // A name that continues another one's is still a family of its own.
        let families = families.into_iter().map(|(name, (kind, series))| {
            let series = series.into_iter().map(|(labels, value)| Series { labels, value }).collect();
            Family { name, kind, help: "What it is.".to_owned(), series }
        });
        let page = Page { families: families.collect() };
        prop_assert_eq!(Page::parse(&page.to_string()), Ok(page));
    }

    #[test]
    fn no_text_breaks_the_reader(text in "[ -~\n#]{0,200}") {
        let _ = Page::parse(&text);
    }
}
