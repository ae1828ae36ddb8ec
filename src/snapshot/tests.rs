use std::sync::Arc;

use proptest::prelude::*;

use super::{About, Exemplar, Family, Format, Histograms, Labels, Snapshot, Value, Values};
use crate::catalog::MetricKind;
use crate::series::TraceIds;

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

fn parsed(text: &str) -> Snapshot {
    Snapshot::parse(text).expect("the page can be read")
}

fn family(name: &str, kind: MetricKind, decimals: u8, bounds: &[f64]) -> Family {
    Family::new(Arc::new(About { name: name.into(), kind, help: "What it is.".into(), decimals }), Arc::from(bounds))
}

fn counter(name: &str, decimals: u8, count: u64) -> Family {
    let mut family = family(name, MetricKind::Counter, decimals, &[]);
    family.labels.push(Labels::default());
    let Values::Counters { counts, .. } = &mut family.values else { panic!("a counter has counts") };
    counts.push(count);
    family
}

/// A family with one histogram: the counts of its buckets, and their sum.
fn histogram(name: &str, bounds: &[f64], counts: &[u64], sum: f64) -> Family {
    let mut family = family(name, MetricKind::Histogram, 0, bounds);
    family.labels.push(Labels::default());
    let Values::Histograms(histograms) = &mut family.values else { panic!("it has histograms") };
    histograms.push(counts, sum);
    family
}

fn of(families: impl IntoIterator<Item = Family>) -> Snapshot {
    Snapshot { families: families.into_iter().collect() }
}

fn openmetrics(snapshot: &Snapshot) -> String {
    String::from_utf8(snapshot.to_page(Format::OpenMetrics)).expect("text")
}

fn buckets(family: &Family) -> (&[f64], &[u64], f64) {
    match family.series().next().expect("a series").1 {
        Value::Histogram(of) => (of.bounds, of.counts, of.sum),
        other => panic!("no histogram: {other:?}"),
    }
}

#[test]
fn a_page_is_read_with_kinds_labels_and_values() {
    let page = parsed(PAGE);
    let requests = page.family("llm_requests_total").expect("it is there");
    assert_eq!((requests.about.kind, &*requests.about.help), (MetricKind::Counter, "Calls."));
    assert_eq!(requests.labels[0].get("model"), r#"a "b" c"#);
    assert_eq!(requests.series().map(|(_, value)| value).collect::<Vec<_>>(), [Value::Counter(3), Value::Counter(1)]);
    assert_eq!(buckets(&page.families[1]), (&[0.5][..], &[2, 1][..], 1.5));
    assert_eq!(page.families[2].series().next().expect("a series").1, Value::Gauge(-0.5));
}

#[test]
fn what_no_page_of_this_crate_has_is_refused_with_its_line() {
    for (text, why) in [
        ("llm_requests_total 1", "line 1"),
        ("# TYPE a summary", "line 1"),
        ("# TYPE a counter\na 1\n# TYPE a counter", "line 3"),
        ("# TYPE a counter\na 1e3", "line 2"),
        ("# TYPE a counter\na -1", "line 2"),
        ("# TYPE a counter\na -1.5", "line 2"),
        ("# TYPE a counter\na 1.", "line 2"),
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
        let error = Snapshot::parse(text).expect_err(text);
        assert!(error.contains(why), "{text:?}: {error}");
    }
}

#[test]
fn runs_add_up_and_gauges_take_the_later_value() {
    let mut total = parsed(PAGE);
    let later = PAGE.replace("-0.5", "2").replace("llm_requests_total 1", "llm_requests_total{model=\"new\"} 7");
    total.add(parsed(&later)).expect("the kinds agree");
    let values: Vec<Value<'_>> = total.families[0].series().map(|(_, value)| value).collect();
    assert_eq!(values, [6, 1, 7].map(Value::Counter));
    assert_eq!(buckets(&total.families[1]), (&[0.5][..], &[4, 2][..], 3.0));
    assert_eq!(total.families[2].series().next().expect("a series").1, Value::Gauge(2.0));
}

#[test]
fn runs_with_other_bounds_add_up_at_the_bounds_that_both_have() {
    let mut total = of([histogram("a", &[1.0, 2.0], &[2, 1, 2], 1.0)]);
    total.add(of([histogram("a", &[2.0, 4.0], &[10, 1, 1], 1.0)])).expect("the kinds agree");
    assert_eq!(buckets(&total.families[0]), (&[2.0][..], &[13, 4][..], 2.0));
}

#[test]
fn fractions_of_other_precision_add_up() {
    let mut total = of([counter("a_total", 2, 150)]);
    total.add(of([counter("a_total", 4, 25_001)])).expect("the kinds agree");
    assert!(total.to_text().ends_with("a_total 4.0001\n"), "{}", total.to_text());
}

#[test]
fn a_metric_that_has_changed_its_kind_is_not_added() {
    let mut total = parsed(PAGE);
    let later = parsed("# TYPE new counter\nnew 1\n# TYPE llm_in_flight counter\nllm_in_flight 1");
    assert_eq!(total.add(later), Err("llm_in_flight".to_owned()));
    assert_eq!(total, parsed(PAGE), "nothing was added");
}

#[test]
fn a_metric_that_has_the_name_of_a_sample_of_another_one_is_not_added() {
    let (histogram, gauge) = (histogram("h", &[1.0], &[2, 1], 4.0), family("h_count", MetricKind::Gauge, 0, &[]));
    for [earlier, later] in [[&histogram, &gauge], [&gauge, &histogram]] {
        let mut total = of([earlier.clone()]);
        assert_eq!(total.add(of([later.clone()])), Err("h_count".to_owned()));
        assert_eq!(total, of([earlier.clone()]), "nothing was added");
    }
}

#[test]
fn descriptions_are_read_back_as_they_were_and_stay_where_a_later_run_has_none() {
    let described = |help: &str| {
        let Family { about, .. } = counter("a_total", 0, 1);
        of([Family { about: Arc::new(About { help: help.into(), ..(*about).clone() }), ..counter("a_total", 0, 1) }])
    };
    for help in [r"C:\new", r"a regex \n\\n", "two\nlines", r"\", ""] {
        let mut total = parsed(&described(help).to_text());
        assert_eq!(total, described(help));
        total.add(described("")).expect("the kinds agree");
        assert_eq!(*total.families[0].about.help, *help);
    }
}

#[test]
fn a_difference_has_what_was_counted_in_between() {
    let earlier = of([counter("a_total", 0, 5), histogram("h", &[1.0], &[2, 1], 4.0), counter("reset_total", 0, 9)]);
    let later = of([
        counter("a_total", 0, 8),
        histogram("h", &[1.0], &[2, 4], 10.0),
        counter("reset_total", 0, 3),
        counter("new_total", 0, 7),
    ]);
    let since = later.since(&earlier);
    let value = |name: &str| since.family(name).expect("it is there").series().next().expect("a series").1;
    assert_eq!(value("a_total"), Value::Counter(3));
    assert_eq!(buckets(since.family("h").expect("it is there")), (&[1.0][..], &[0, 3][..], 6.0));
    assert_eq!((value("reset_total"), value("new_total")), (Value::Counter(3), Value::Counter(7)));
}

#[test]
fn quantiles_are_those_of_promql() {
    let family = histogram("a", &[1.0, 2.0, 4.0], &[0, 10, 10, 2], 0.0);
    let Value::Histogram(distribution) = family.series().next().expect("a series").1 else { panic!("a histogram") };
    // histogram_quantile(0.5, …) by hand: rank 11 is a tenth into the bucket from 2 to 4.
    assert_eq!(distribution.quantile(0.5), Some(2.2));
    assert_eq!(distribution.quantile(0.25), Some(1.55));
    assert_eq!(distribution.quantile(1.0), Some(4.0), "beyond the last bound");
    let empty = histogram("a", &[1.0], &[0, 0], 0.0);
    let Value::Histogram(empty) = empty.series().next().expect("a series").1 else { panic!("a histogram") };
    assert_eq!(empty.quantile(0.5), None);
}

#[test]
fn counts_of_decimals_are_fractions_on_both_pages() {
    for (count, decimals, text) in [
        (0, 9, "0"),
        (1, 9, "0.000000001"),
        (1_500_000_000, 9, "1.5"),
        (2_000_000_000, 9, "2"),
        (u64::MAX, 9, "18446744073.709551615"),
        (7, 0, "7"),
    ] {
        let snapshot = of([counter("llm_cost_usd_total", decimals, count)]);
        let line = format!("llm_cost_usd_total {text}\n");
        assert!(snapshot.to_text().ends_with(&line), "{}", snapshot.to_text());
        assert!(openmetrics(&snapshot).contains(&line), "{}", openmetrics(&snapshot));
    }
}

#[test]
fn openmetrics_names_a_counter_without_total_and_ends_with_eof() {
    let page = openmetrics(&of([counter("jobs_total", 0, 3)]));
    assert_eq!(page, "# HELP jobs What it is.\n# TYPE jobs counter\njobs_total 3\n# EOF\n");
}

#[test]
fn a_counter_beside_a_family_of_its_name_is_unknown_in_openmetrics() {
    let mut gauge = family("jobs", MetricKind::Gauge, 0, &[]);
    gauge.labels.push(Labels::default());
    let Values::Gauges(values) = &mut gauge.values else { panic!("a gauge") };
    values.push(1.0);
    let page = openmetrics(&of([counter("jobs_total", 0, 3), gauge, counter("subtotal", 0, 1)]));
    assert!(page.contains("# TYPE jobs_total unknown\njobs_total 3\n"), "{page}");
    assert!(page.contains("# TYPE jobs gauge\njobs 1\n"), "{page}");
    assert!(page.contains("# TYPE subtotal unknown\nsubtotal 1\n"), "{page}");
}

#[test]
fn a_histogram_with_negative_samples_keeps_its_series_in_openmetrics() {
    for (bounds, sum) in [(&[-1.0, 1.0][..], 3.0), (&[0.5, 1.0][..], -3.0)] {
        let page = openmetrics(&of([histogram("t", bounds, &[1, 1, 1], sum)]));
        for start in [
            "# TYPE t_bucket unknown\nt_bucket{le=\"",
            "# TYPE t_sum unknown\nt_sum ",
            "# TYPE t_count unknown\nt_count 3",
        ] {
            assert!(page.contains(start), "{page}");
        }
    }
}

#[test]
fn bounds_have_one_text_in_openmetrics() {
    let bounds = [0.00001, 0.0025, 0.5, 1.0, 10.0, 999_999.0, 1e6, 2.5e7];
    let page = openmetrics(&of([histogram("t", &bounds, &[0; 9], 0.0)]));
    let found: Vec<&str> = page.lines().filter_map(|line| line.split('"').nth(1)).collect();
    assert_eq!(found, ["1e-05", "0.0025", "0.5", "1.0", "10.0", "999999.0", "1e+06", "2.5e+07", "+Inf"]);
}

#[test]
fn exemplars_stand_in_openmetrics_alone() {
    let ids = TraceIds { trace: [0xab; 16], span: [0x01; 8] };
    let mut latency = histogram("t", &[1.0], &[1, 1], 2.5);
    let Values::Histograms(histograms) = &mut latency.values else { panic!("it has histograms") };
    histograms.push_exemplar(1, Exemplar { ids, value: 2.0, time: 1_700_000_000.25 });
    let mut errors = counter("e_total", 0, 1);
    let Values::Counters { exemplars, .. } = &mut errors.values else { panic!("a counter") };
    exemplars.push((0, Exemplar { ids, value: 1.0, time: 1_700_000_000.0 }));
    let snapshot = of([latency, errors]);
    let exemplar = "# {trace_id=\"abababababababababababababababab\",span_id=\"0101010101010101\"}";
    let page = openmetrics(&snapshot);
    assert!(page.contains(&format!("t_bucket{{le=\"+Inf\"}} 2 {exemplar} 2 1700000000.250\n")), "{page}");
    assert!(page.contains(&format!("e_total 1 {exemplar} 1 1700000000.000\n")), "{page}");
    assert!(!snapshot.to_text().contains("trace_id"));
}

#[test]
fn numbers_that_are_none_have_their_texts() {
    let mut gauge = family("g", MetricKind::Gauge, 0, &[]);
    let all = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 1e-300, -0.0];
    gauge.labels.extend((0..all.len()).map(|at| Labels::from_iter([("at", at.to_string())])));
    let Values::Gauges(values) = &mut gauge.values else { panic!("a gauge") };
    values.extend(all);
    let text = of([gauge]).to_text();
    let found: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("g{")?.split(' ').nth(1)).collect();
    assert_eq!(found, ["NaN", "+Inf", "-Inf", "1.7976931348623157e308", "1e-300", "-0"]);
}

#[test]
fn memory_of_a_page_is_taken_once() {
    let page = of([counter("jobs_total", 0, u64::MAX), histogram("t", &[1.0, 2.0], &[u64::MAX, 0, 0], f64::MIN)]);
    for format in [Format::Text, Format::OpenMetrics] {
        let expected: usize = page.families.iter().map(|family| family.longest(format)).sum::<usize>() + 8;
        let text = page.to_page(format);
        assert!(text.len() <= expected && text.capacity() == expected, "{} {expected}", text.len());
    }
}

fn labels() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::btree_map("[a-k_]{1,4}", any::<String>(), 0..3).prop_map(|labels| labels.into_iter().collect())
}

/// Values of a kind, one for each of the series: counts, numbers and histograms with the same bounds.
fn values(kind: MetricKind, series: usize) -> BoxedStrategy<Values> {
    match kind {
        MetricKind::Counter => prop::collection::vec(any::<u64>(), series)
            .prop_map(|counts| Values::Counters { counts, exemplars: Vec::new() })
            .boxed(),
        MetricKind::Gauge => prop::collection::vec(-1e300..1e300, series).prop_map(Values::Gauges).boxed(),
        MetricKind::Histogram => (prop::collection::btree_set(1_u32..1000, 0..5))
            .prop_flat_map(move |steps| {
                let bounds: Arc<[f64]> = steps.iter().map(|step| f64::from(*step) / 8.0).collect();
                let buckets = bounds.len() + 1;
                let counts = prop::collection::vec(0_u64..1 << 40, series * buckets);
                (Just(bounds), counts, prop::collection::vec(-1e300..1e300, series))
            })
            .prop_map(move |(bounds, counts, sums)| {
                let bounds = if series == 0 { Arc::default() } else { bounds };
                Values::Histograms(Histograms { bounds, counts, sums, exemplars: Vec::new() })
            })
            .boxed(),
    }
}

fn families() -> impl Strategy<Value = Snapshot> {
    let kind = prop_oneof![Just(MetricKind::Counter), Just(MetricKind::Gauge), Just(MetricKind::Histogram)];
    let of_kind = kind.prop_flat_map(|kind| {
        prop::collection::btree_set(labels(), 0..4).prop_flat_map(move |labels| {
            let series = labels.len();
            (Just(kind), Just(labels), values(kind, series))
        })
    });
    // A name that continues another one's is still a family of its own.
    prop::collection::btree_map("[a-z]{1,6}", of_kind, 0..4).prop_map(|families| {
        of(families.into_iter().map(|(name, (kind, labels, values))| {
            let labels = labels.into_iter().map(Labels::from_iter).collect();
            Family { labels, values, ..family(&name, kind, 0, &[]) }
        }))
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(snapshot in families()) {
        prop_assert_eq!(Snapshot::parse(&snapshot.to_text()), Ok(snapshot));
    }

    #[test]
    fn no_page_is_longer_than_its_memory(snapshot in families()) {
        for format in [Format::Text, Format::OpenMetrics] {
            let page = snapshot.to_page(format);
            let expected: usize = snapshot.families.iter().map(|family| family.longest(format)).sum::<usize>() + 8;
            prop_assert_eq!(page.capacity(), expected);
        }
    }

    #[test]
    fn no_text_breaks_the_reader(text in "[ -~\n#]{0,200}") {
        let _ = Snapshot::parse(&text);
    }
}
