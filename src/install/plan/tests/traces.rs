//! Tests of the variables of the spans, for any exporter.

use super::{Variable, assert_refused, backend, plan, spans};

const CONSOLE: &[(&str, &str)] = &[("OTEL_TRACES_EXPORTER", "console")];

pub(super) const VARIABLES: &[Variable] = &[
    Variable {
        name: "OTEL_TRACES_EXPORTER",
        with: &[],
        shown: backend,
        default: "none",
        valid: &[
            ("console", "stdout"),
            ("Console", "stdout"),
            ("console,", "stdout"),
            ("none", "none"),
            ("off", "none"),
            #[cfg(feature = "_otlp")]
            ("otlp", super::otlp::DEFAULT),
            #[cfg(feature = "_otlp")]
            ("otlp,console", super::otlp::DEFAULT_AND_STDOUT),
            #[cfg(feature = "_otlp")]
            ("Console, otlp", super::otlp::DEFAULT_AND_STDOUT),
        ],
        invalid: &[
            "stdout",
            "zipkin",
            "jaeger",
            "otlp console",
            "none,otlp",
            "console,off",
            ",",
            #[cfg(not(feature = "_otlp"))]
            "otlp",
        ],
    },
    Variable {
        name: "OTEL_EXPORTER",
        with: &[],
        shown: backend,
        default: "none",
        valid: &[
            ("stdout", "stdout"),
            ("none", "none"),
            ("NONE", "none"),
            ("off", "none"),
            #[cfg(feature = "_otlp")]
            ("otlp", super::otlp::DEFAULT),
        ],
        invalid: &[
            "console",
            "jaeger",
            "otlp,none",
            "http://localhost:4317",
            #[cfg(not(feature = "_otlp"))]
            "otlp",
        ],
    },
    Variable {
        name: "BOTTICELLI_OBS_SPAN_FILTER",
        with: CONSOLE,
        shown: |plan| spans(plan).filter.clone(),
        default: "info",
        valid: &[
            ("debug", "debug"),
            ("off", "off"),
            ("info,hyper=warn", "info,hyper=warn"),
            ("bot[chat{user=1}]=trace", "bot[chat{user=1}]=trace"),
        ],
        invalid: &["x=loud", "a=b=c", "[unclosed", ",", "x=9"],
    },
    Variable {
        name: "OTEL_TRACES_SAMPLER",
        with: CONSOLE,
        shown: |plan| format!("{:?}", spans(plan).sampler),
        default: "ParentBasedAlwaysOn",
        valid: &[
            ("always_on", "AlwaysOn"),
            ("always_off", "AlwaysOff"),
            ("traceidratio", "TraceIdRatio(1.0)"),
            ("parentbased_always_on", "ParentBasedAlwaysOn"),
            ("parentbased_always_off", "ParentBasedAlwaysOff"),
            ("parentbased_traceidratio", "ParentBasedTraceIdRatio(1.0)"),
            ("ALWAYS_ON", "AlwaysOn"),
        ],
        invalid: &[
            "sometimes",
            "0.1",
            "jaeger_remote",
            "xray",
            "parentbased_jaeger_remote",
            "always-on",
            "traceidratio=0.1",
        ],
    },
    Variable {
        name: "OTEL_TRACES_SAMPLER_ARG",
        with: &[("OTEL_TRACES_EXPORTER", "console"), ("OTEL_TRACES_SAMPLER", "traceidratio")],
        shown: |plan| format!("{:?}", spans(plan).sampler),
        default: "TraceIdRatio(1.0)",
        valid: &[
            ("0", "TraceIdRatio(0.0)"),
            ("0.25", "TraceIdRatio(0.25)"),
            (".5", "TraceIdRatio(0.5)"),
            ("1e-3", "TraceIdRatio(0.001)"),
            ("1", "TraceIdRatio(1.0)"),
        ],
        invalid: &["x", "-0.1", "1.1", "10%", "0,5", "1/2", "NaN", "inf", "1e999", "ratio=0.5"],
    },
    Variable {
        name: "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        with: CONSOLE,
        shown: |plan| spans(plan).limits.attributes.to_string(),
        default: "128",
        valid: &[("7", "7"), ("128", "128"), ("0", "0"), ("4294967295", "4294967295")],
        invalid: &["-1", "+7", "x", "1.5", "4294967296"],
    },
    Variable {
        name: "OTEL_ATTRIBUTE_COUNT_LIMIT",
        with: CONSOLE,
        shown: |plan| spans(plan).limits.attributes.to_string(),
        default: "128",
        valid: &[("7", "7"), ("128", "128"), ("0", "0")],
        invalid: &["-1", "+7", "x", "4294967296"],
    },
    Variable {
        name: "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
        with: CONSOLE,
        shown: |plan| spans(plan).limits.event_attributes.to_string(),
        default: "128",
        valid: &[("7", "7"), ("128", "128"), ("0", "0")],
        invalid: &["-1", "x"],
    },
    Variable {
        name: "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
        with: CONSOLE,
        shown: |plan| spans(plan).limits.link_attributes.to_string(),
        default: "128",
        valid: &[("7", "7"), ("128", "128"), ("0", "0")],
        invalid: &["-1", "x"],
    },
    Variable {
        name: "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        with: CONSOLE,
        shown: |plan| spans(plan).limits.value_length.map_or("no limit".to_owned(), |limit| limit.to_string()),
        default: "no limit",
        valid: &[("64", "64"), ("0", "0")],
        invalid: &["-1", "x", "none"],
    },
    Variable {
        name: "OTEL_SPAN_EVENT_COUNT_LIMIT",
        with: CONSOLE,
        shown: |plan| spans(plan).limits.events.to_string(),
        default: "128",
        valid: &[("8", "8"), ("128", "128"), ("0", "0")],
        invalid: &["-1", "x", "1e3", "99999999999999999999"],
    },
    Variable {
        name: "OTEL_SPAN_LINK_COUNT_LIMIT",
        with: CONSOLE,
        shown: |plan| spans(plan).limits.links.to_string(),
        default: "128",
        valid: &[("9", "9"), ("128", "128"), ("0", "0")],
        invalid: &["-1", "x", "1_000", "99999999999999999999"],
    },
    Variable {
        name: "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        with: CONSOLE,
        shown: |plan| spans(plan).limits.value_length.map_or("no limit".to_owned(), |limit| limit.to_string()),
        default: "no limit",
        valid: &[("64", "64"), ("0", "0")],
        invalid: &["-1", "x", "none", "64 kB", "99999999999999999999"],
    },
    Variable {
        name: "OTEL_BSP_SCHEDULE_DELAY",
        with: CONSOLE,
        shown: |plan| format!("{:?}", spans(plan).batch.delay),
        default: "5s",
        valid: &[("1", "1ms"), ("250", "250ms"), ("5000", "5s"), ("86400000", "86400s")],
        invalid: &["0", "-1", "+1", "5s", "1.5", "86400001", "99999999999999999999"],
    },
    Variable {
        name: "OTEL_BSP_EXPORT_TIMEOUT",
        with: CONSOLE,
        shown: |plan| format!("{:?}", spans(plan).batch.export_timeout),
        default: "30s",
        valid: &[("1", "1ms"), ("1500", "1.5s"), ("30000", "30s"), ("86400000", "86400s")],
        invalid: &["0", "-1", "x", "30s", "86400001", "18446744073709551615"],
    },
    Variable {
        name: "OTEL_BSP_MAX_QUEUE_SIZE",
        with: CONSOLE,
        shown: |plan| spans(plan).batch.queue.to_string(),
        default: "2048",
        valid: &[("1", "1"), ("2048", "2048"), ("4096", "4096"), ("1000000", "1000000")],
        invalid: &["0", "-1", "x", "1e3", "1000001", "18446744073709551615"],
    },
    Variable {
        name: "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        with: CONSOLE,
        shown: |plan| spans(plan).batch.size.to_string(),
        default: "512",
        valid: &[("1", "1"), ("512", "512"), ("2048", "2048")],
        // 2048 spans are the queue.
        invalid: &["0", "-1", "x", "2049", "18446744073709551615"],
    },
    Variable {
        name: "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
        with: CONSOLE,
        shown: |plan| spans(plan).captures_content.to_string(),
        default: "false",
        valid: &[
            ("true", "true"),
            ("True", "true"),
            ("false", "false"),
            ("NO_CONTENT", "false"),
            ("EVENT_ONLY", "false"),
            ("SPAN_ONLY", "true"),
            ("span_and_event", "true"),
        ],
        invalid: &["1", "yes", "on", "true,false", "content"],
    },
    Variable {
        name: "BOTTICELLI_OBS_SPAN_ALIASES",
        with: CONSOLE,
        shown: |plan| spans(plan).aliases.to_string(),
        default: "false",
        valid: &[("on", "true"), ("ON", "true"), ("off", "false")],
        invalid: &["true", "1", "yes", "on,off"],
    },
    Variable {
        name: "OTEL_PROPAGATORS",
        with: CONSOLE,
        shown: |plan| format!("{:?}", spans(plan).propagators),
        default: "[TraceContext, Baggage]",
        valid: &[
            ("tracecontext", "[TraceContext]"),
            ("baggage", "[Baggage]"),
            ("tracecontext, baggage", "[TraceContext, Baggage]"),
            ("baggage,tracecontext,baggage", "[Baggage, TraceContext]"),
            ("TraceContext", "[TraceContext]"),
            ("none", "[]"),
        ],
        invalid: &["b3", "jaeger", "tracecontext,b3", "none,baggage", "tracecontext baggage", ","],
    },
];

#[test]
fn a_batch_is_no_larger_than_the_queue() {
    let batch =
        |variables: &[(&str, &str)]| plan(CONSOLE.iter().chain(variables).copied()).map(|plan| spans(&plan).batch);
    let queue = ("OTEL_BSP_MAX_QUEUE_SIZE", "100");
    assert_eq!(batch(&[queue]).expect("valid").size, 100, "the default shrinks with the queue");
    let size = |size| ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", size);
    assert_eq!(batch(&[queue, size("100")]).expect("valid").size, 100);
    let text = assert_refused(size("").0, plan(CONSOLE.iter().copied().chain([queue, size("101")])));
    assert!(text.contains("queue of 100 spans") && text.contains(queue.0), "{text}");
    assert_eq!(batch(&[("OTEL_BSP_MAX_QUEUE_SIZE", "5000"), size("4000")]).expect("valid").size, 4000);
}

#[test]
fn a_sampler_argument_counts_only_beside_a_sampler_that_takes_one() {
    // The specification: it "will only be used if OTEL_TRACES_SAMPLER is set", and each sampler defines its own argument.
    let argument = ("OTEL_TRACES_SAMPLER_ARG", "nonsense");
    for sampler in ["", "always_on", "parentbased_always_off"] {
        plan([argument, ("OTEL_TRACES_SAMPLER", sampler)]).expect("the argument is not used");
    }
    for sampler in ["traceidratio", "parentbased_traceidratio"] {
        assert_refused(argument.0, plan([argument, ("OTEL_TRACES_SAMPLER", sampler)]));
    }
}

#[test]
fn settings_of_spans_are_checked_even_when_none_are_exported() {
    for row in VARIABLES.iter().filter(|row| row.name != "OTEL_TRACES_EXPORTER" && row.name != "OTEL_EXPORTER") {
        for value in row.invalid {
            let with = row.with.iter().copied().filter(|(name, _)| *name != "OTEL_TRACES_EXPORTER");
            assert_refused(row.name, plan(with.chain([(row.name, *value)])));
        }
    }
}

#[cfg(not(feature = "_otlp"))]
#[test]
fn export_without_a_transport_is_refused_by_the_name_of_what_asks_for_it() {
    for (name, value) in [
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://user:s3cret@localhost:4317"),
    ] {
        let text = assert_refused(name, plan([(name, value)]));
        assert!(text.contains("`otlp-grpc`") && !text.contains("s3cret"), "{text}");
    }
}

#[test]
fn the_limits_of_spans_come_before_those_of_every_signal() {
    let of = |variables: &[(&'static str, &'static str)]| {
        spans(&plan(CONSOLE.iter().chain(variables).copied()).expect("valid")).limits
    };
    let general = [("OTEL_ATTRIBUTE_COUNT_LIMIT", "5"), ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "6")];
    let own = [("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "7"), ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "8")];
    let limits = of(&[general, own].concat());
    assert_eq!((limits.attributes, limits.value_length), (7, Some(8)));
    assert_eq!((of(&general).attributes, of(&general).value_length), (5, Some(6)));
}
