//! Property tests: any value is used, or refused with the name of the setting, and nothing panics.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{Builder, Plan, Variable, assert_refused, is_about, page, plan, plan_of, spans, variables};
use crate::{Sampler, TraceExporter};

/// Generates any text, numbers, and values of the tables with up to two typing errors.
fn value() -> impl Strategy<Value = String> {
    let known: Vec<&str> = variables()
        .flat_map(|row| row.valid.iter().map(|(value, _)| *value).chain(row.invalid.iter().copied()))
        .collect();
    let nearly = (select(known), prop::collection::vec((any::<Index>(), edit()), 0..3)).prop_map(|(known, edits)| {
        let mut text: Vec<char> = known.chars().collect();
        for (place, edit) in edits {
            edit.apply(&mut text, &place);
        }
        text.into_iter().collect()
    });
    prop_oneof![
        1 => any::<String>(),
        1 => "[a-z0-9_./:,=%\\[\\]{}@?#*+-]{0,24}",
        1 => "[+-]?[0-9]{1,22}(\\.[0-9]{1,4})?(e-?[0-9]{1,3})?",
        5 => nearly,
    ]
}

/// A typing error.
#[derive(Clone, Debug)]
enum Edit {
    Insert(char),
    Replace(char),
    Remove,
    Repeat,
    Uppercase,
}

fn edit() -> impl Strategy<Value = Edit> {
    let character =
        || prop_oneof![any::<char>(), select(" ,;=:/\\[]{}()%+-._@?#*\"'\0\n0179aAä".chars().collect::<Vec<_>>())];
    prop_oneof![
        character().prop_map(Edit::Insert),
        character().prop_map(Edit::Replace),
        Just(Edit::Remove),
        Just(Edit::Repeat),
        Just(Edit::Uppercase),
    ]
}

impl Edit {
    fn apply(self, text: &mut Vec<char>, place: &Index) {
        let place = place.index(text.len() + 1);
        match self {
            Self::Insert(c) => text.insert(place, c),
            Self::Replace(c) if place < text.len() => text[place] = c,
            Self::Remove if place < text.len() => drop(text.remove(place)),
            Self::Repeat => text.extend_from_within(place..),
            Self::Uppercase => text.iter_mut().for_each(|c| c.make_ascii_uppercase()),
            Self::Replace(_) | Self::Remove => {}
        }
    }
}

/// Returns whether a value is another spelling of the default.
fn means_default(row: &Variable, value: &str) -> bool {
    let defaults = row.valid.iter().filter(|(_, expected)| *expected == row.default).map(|(default, _)| *default);
    defaults.chain([row.default]).any(|default| items(default) == items(value))
        // The last name is used, and a blank one is ignored.
        || (row.name == "OTEL_RESOURCE_ATTRIBUTES" && value.contains("service.name"))
}

/// Returns the items of a list, or the single value, regardless of order, case and spelling.
fn items(value: &str) -> BTreeSet<String> {
    let spelled = |item: &str| {
        let item = item.trim().to_ascii_lowercase();
        match item.parse::<f64>() {
            Ok(number) => number.to_string(),
            Err(_) => item.trim_start_matches("http://").trim_end_matches('/').to_owned(),
        }
    };
    value.split(',').map(spelled).filter(|item| !item.is_empty()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_value_is_used_or_refused_by_name(row in select(variables().collect::<Vec<_>>()), value in value()) {
        match row.plan(&value) {
            Err(error) => {
                let text = error.to_string();
                prop_assert!(error.is_invalid_setting() && is_about(row.name, &text), "{}={value:?}: {text}", row.name);
                prop_assert!(!text.contains('\n') && text.chars().count() < 1500, "{text:?}");
            }
            Ok(plan) => {
                let is_default = (row.shown)(&plan) == row.default;
                let may_be = value.trim().is_empty() || means_default(&row, &value);
                prop_assert!(!is_default || may_be, "{}={value:?} is neither used nor refused", row.name);
            }
        }
    }

    #[test]
    fn any_values_together_are_used_or_one_that_was_set_is_refused(
        settings in prop::collection::vec((select(variables().collect::<Vec<_>>()), value(), any::<Option<Index>>()), 0..8),
    ) {
        let set: Vec<(&str, String)> = settings.into_iter().map(|(row, value, valid)| match valid {
            // Some values are valid, so that the first error does not hide all others.
            Some(valid) if !row.valid.is_empty() => (row.name, row.valid[valid.index(row.valid.len())].0.to_owned()),
            _ => (row.name, value),
        }).collect();
        if let Err(error) = plan(set.iter().map(|(name, value)| (*name, value.as_str()))) {
            let text = error.to_string();
            prop_assert!(error.is_invalid_setting());
            prop_assert!(set.iter().any(|(name, value)| is_about(name, &text) && !value.trim().is_empty()), "{set:?}: {text}");
        }
    }

    #[test]
    fn whole_numbers_are_taken_in_their_range_and_as_they_are(number in prop_oneof![any::<u64>(), 0..100_000_000_u64, 0..70_000_u64]) {
        type Row = (&'static str, RangeInclusive<u64>, fn(&Plan) -> u128);
        let milliseconds = |name, shown| -> Row { (name, 1..=86_400_000, shown) };
        let rows: [Row; 6] = [
            milliseconds("OTEL_BSP_SCHEDULE_DELAY", |plan| spans(plan).batch.delay.as_millis()),
            milliseconds("OTEL_BSP_EXPORT_TIMEOUT", |plan| spans(plan).batch.export_timeout.as_millis()),
            ("OTEL_BSP_MAX_QUEUE_SIZE", 1..=1_000_000, |plan| spans(plan).batch.queue as u128),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1..=2048, |plan| spans(plan).batch.size as u128),
            ("OTEL_SPAN_EVENT_COUNT_LIMIT", 0..=u64::from(u32::MAX), |plan| spans(plan).limits.events.into()),
            ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", 0..=usize::MAX as u64, |plan| {
                spans(plan).limits.value_length.expect("it is set") as u128
            }),
        ];
        for (name, range, shown) in rows {
            match plan([("OTEL_TRACES_EXPORTER", "console"), (name, &number.to_string())]) {
                Ok(plan) => prop_assert!(range.contains(&number) && shown(&plan) == number.into(), "{name}={number}"),
                Err(error) => prop_assert!(!range.contains(&number) && is_about(name, &error.to_string()), "{error}"),
            }
        }
        let endpoint = format!("127.0.0.1:{number}");
        match plan([("PROMETHEUS_ENDPOINT", endpoint.as_str())]) {
            Ok(plan) => prop_assert_eq!(page(&plan).listen.as_deref(), Some(endpoint.as_str())),
            Err(_) => prop_assert!(number > 65535),
        }
    }

    #[test]
    fn secrets_are_in_no_error(before in value(), after in value(), name in select(&["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_RESOURCE_ATTRIBUTES"])) {
        let value = format!("{before}S3CRET{after}");
        if let Err(error) = plan([("OTEL_TRACES_EXPORTER", "otlp"), (name, value.as_str())]) {
            prop_assert!(!format!("{error} {error:?}").contains("S3CRET"), "{error}");
        }
        let coded = plan_of(&Builder::new().with_page_token(value.as_str()), []);
        let shown = match coded {
            Ok(plan) => format!("{plan:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        prop_assert!(!shown.contains("S3CRET"), "{shown}");
        let instead_of_a_path = plan([("BOTTICELLI_OBS_TOKEN_FILE", value.as_str())]).err();
        prop_assert!(instead_of_a_path.is_some_and(|error| !format!("{error} {error:?}").contains("S3CRET")), "a path");
        for name in ["OTEL_EXPORTER_OTLP_ENDPOINT", "PROMETHEUS_ENDPOINT"] {
            let url = format!("{before}user:S3CRET@{after}");
            let error = plan([(name, url.as_str())]).err();
            prop_assert!(error.is_some_and(|error| !format!("{error} {error:?}").contains("S3CRET")), "{name}={url:?}");
        }
    }

    #[test]
    fn any_bounds_are_put_in_order_or_refused(bounds in prop::collection::vec(prop_oneof![9 => -10.0..10.0, 1 => any::<f64>()], 0..12)) {
        let plan = plan_of(&Builder::new().with_buckets("m", bounds.clone()), []);
        if bounds.is_empty() || bounds.iter().any(|bound| !bound.is_finite()) {
            assert_refused("with_buckets", plan);
        } else {
            let plan = plan.expect("every bound is finite");
            let [(_, sorted)] = page(&plan).store.buckets.as_slice() else { panic!("one metric has bounds") };
            prop_assert!(sorted.is_sorted_by(|earlier, later| earlier < later), "{sorted:?}");
            prop_assert!(bounds.iter().all(|bound| sorted.contains(bound)) && sorted.iter().all(|bound| bounds.contains(bound)));
        }
    }

    #[test]
    fn any_text_in_code_is_used_or_refused(text in value(), ratio in any::<f64>()) {
        type Setter = fn(Builder, String) -> Builder;
        let options: [(&str, Setter); 8] = [
            ("with_service_name", Builder::with_service_name),
            ("with_prometheus_endpoint", Builder::with_prometheus_endpoint),
            ("with_log_filter", Builder::with_log_filter),
            ("with_span_filter", Builder::with_span_filter),
            ("add_allowed_network", Builder::add_allowed_network),
            ("with_page_token", Builder::with_page_token),
            ("without_metrics", Builder::without_metrics),
            ("add_global_label", |builder, name| builder.add_global_label(name, "v")),
        ];
        for (method, option) in options {
            let builder = option(Builder::new(), text.clone()).with_trace_exporter(TraceExporter::Stdout);
            if let Err(error) = plan_of(&builder, []) {
                prop_assert!(error.is_invalid_setting() && is_about(method, &error.to_string()), "{error}");
            }
        }
        let sampler = plan_of(&Builder::new().with_sampler(Sampler::TraceIdRatio(ratio)), []);
        prop_assert_eq!(sampler.is_ok(), (0.0..=1.0).contains(&ratio));
    }
}
