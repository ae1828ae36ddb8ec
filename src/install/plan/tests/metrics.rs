//! Tests of the variables of the page.

use super::{Builder, Variable, assert_refused, page, plan, plan_of};

/// Relative to the package's folder, in which tests run.
const TOKEN_FILE: &str = "src/install/plan/tests/token";

pub(super) const VARIABLES: &[Variable] = &[
    Variable {
        name: "PROMETHEUS_ENDPOINT",
        with: &[],
        shown: |plan| page(plan).listen.clone().unwrap_or("off".to_owned()),
        default: "127.0.0.1:9464",
        valid: &[
            ("127.0.0.1:9464", "127.0.0.1:9464"),
            ("0.0.0.0:9464", "0.0.0.0:9464"),
            ("[::]:0", "[::]:0"),
            ("[::1]:9464", "[::1]:9464"),
            ("[fe80::1%3]:9464", "[fe80::1%3]:9464"),
            ("localhost:9100", "localhost:9100"),
            ("metrics-host.internal:80", "metrics-host.internal:80"),
            ("bot_server:65535", "bot_server:65535"),
            (":9100", "127.0.0.1:9100"),
            (":9464", "127.0.0.1:9464"),
            ("9100", "127.0.0.1:9100"),
            ("9464", "127.0.0.1:9464"),
            ("0", "127.0.0.1:0"),
            ("off", "off"),
            ("OFF", "off"),
            ("none", "off"),
        ],
        invalid: &[
            "nonsense",
            "127.0.0.1",
            "::1",
            "::1:9464",
            "[::1]",
            "[::1]:",
            "[::1:9464",
            "[fe80::1%eth0]:9464",
            "[localhost]:80",
            "127.0.0.1:",
            ":",
            ":off",
            "host:+80",
            "+80",
            "-1",
            "65536",
            "host:99999",
            "host:99999999999999999999",
            "host:80:80",
            "host: 80",
            "a b:80",
            "a,b:80",
            "höst:80",
            "1.2.3:80",
            "256.0.0.1:80",
            "127.0.0.1:80,127.0.0.1:81",
            "http://127.0.0.1:9464",
            "127.0.0.1:9464/metrics",
        ],
    },
    Variable {
        name: "OTEL_EXPORTER_PROMETHEUS_HOST",
        with: &[],
        shown: |plan| page(plan).listen.clone().unwrap_or("off".to_owned()),
        default: "127.0.0.1:9464",
        valid: &[
            ("127.0.0.1", "127.0.0.1:9464"),
            ("0.0.0.0", "0.0.0.0:9464"),
            ("::", "[::]:9464"),
            ("[::1]", "[::1]:9464"),
            ("localhost", "localhost:9464"),
            ("off", "off"),
            ("None", "off"),
        ],
        invalid: &[
            "a b",
            "http://host",
            "host:9464",
            "1.2.3",
            "9464",
            "[127.0.0.1]",
            "]::1[",
            "[::1",
            "[[::1]]",
            "::1]",
            "fe80::1%eth0",
        ],
    },
    Variable {
        name: "OTEL_EXPORTER_PROMETHEUS_PORT",
        with: &[],
        shown: |plan| page(plan).listen.clone().unwrap_or("off".to_owned()),
        default: "127.0.0.1:9464",
        valid: &[
            ("9464", "127.0.0.1:9464"),
            ("9999", "127.0.0.1:9999"),
            ("0", "127.0.0.1:0"),
            ("080", "127.0.0.1:80"),
            ("off", "off"),
        ],
        invalid: &["x", "-1", "+80", "65536", "80.0", "0x50", "8 0", ":80", "99999999999999999999"],
    },
    Variable {
        name: "OTEL_METRICS_EXEMPLAR_FILTER",
        with: &[],
        shown: |plan| page(plan).store.has_exemplars.to_string(),
        default: "true",
        valid: &[("trace_based", "true"), ("always_off", "false"), ("ALWAYS_OFF", "false")],
        invalid: &["always_on", "none", "off", "true", "trace_based,always_off"],
    },
    Variable {
        name: "OTEL_METRICS_EXPORTER",
        with: &[],
        shown: |plan| match &plan.metrics {
            Some(page) if page.listen.is_some() => "prometheus".to_owned(),
            Some(_) => "otlp".to_owned(),
            None => "none".to_owned(),
        },
        default: "prometheus",
        valid: &[
            ("prometheus", "prometheus"),
            ("Prometheus", "prometheus"),
            ("prometheus,", "prometheus"),
            ("none", "none"),
            ("NONE", "none"),
            ("off", "none"),
            #[cfg(feature = "otlp-metrics")]
            ("OTLP", "otlp"),
            #[cfg(feature = "otlp-metrics")]
            ("prometheus, otlp", "prometheus"),
        ],
        invalid: &[
            #[cfg(not(feature = "otlp-metrics"))]
            "otlp",
            #[cfg(not(feature = "otlp-metrics"))]
            "prometheus,otlp",
            "otlp,none",
            "console",
            "x",
            ",",
            "none,prometheus",
            "prometheus, none",
            "prometheus none",
            "prometheus;otlp",
        ],
    },
    Variable {
        name: "BOTTICELLI_OBS_METRICS_EXCLUDE",
        with: &[],
        shown: |plan| match page(plan).store.exclude.as_slice() {
            [] => "nothing is left out".to_owned(),
            patterns => patterns.iter().map(|pattern| pattern.as_str()).collect::<Vec<_>>().join(" "),
        },
        default: "nothing is left out",
        valid: &[
            ("llm.finish", "llm.finish"),
            ("llm.attempt.*", "llm.attempt.*"),
            ("llm_wait_seconds, *chunk* ,,bot.queue/depth,", "llm_wait_seconds *chunk* bot.queue/depth"),
            ("*", "*"),
        ],
        invalid: &[
            ",",
            "llm finish",
            "llm.finish;llm.wait",
            "llm.?",
            "llm.[a-z]*",
            "/^llm$/",
            "ä*",
            "llm.*,a=b",
            "!llm.*",
        ],
    },
    Variable {
        name: "BOTTICELLI_OBS_TOKEN_FILE",
        with: &[],
        shown: |plan| match &page(plan).token {
            Some(token) if token.is_shown_by(b"Bearer s3cret-token-of-the-tests") => "the token of the file".to_owned(),
            Some(_) => "another token".to_owned(),
            None => "none".to_owned(),
        },
        default: "none",
        valid: &[
            (TOKEN_FILE, "the token of the file"),
            ("./src/install/plan/tests/token", "the token of the file"),
            ("off", "none"),
        ],
        invalid: &[
            "/does/not/exist",
            // A folder, a file without a token, one that is too large.
            "src",
            "rustfmt.toml",
            "Cargo.lock",
            "s3cret-token",
            #[cfg(unix)]
            "/dev/zero",
            #[cfg(unix)]
            "/dev/null",
        ],
    },
    Variable {
        name: "BOTTICELLI_OBS_LISTENER",
        with: &[],
        shown: |plan| page(plan).listener.to_string(),
        default: "own",
        valid: &[
            ("own", "own"),
            ("OWN", "own"),
            #[cfg(feature = "exporter")]
            ("exporter", "exporter"),
            #[cfg(feature = "exporter")]
            ("Exporter", "exporter"),
        ],
        invalid: &[
            "none",
            "off",
            "true",
            "own,exporter",
            "127.0.0.1:9464",
            #[cfg(not(feature = "exporter"))]
            "exporter",
        ],
    },
    Variable {
        name: "BOTTICELLI_OBS_GENAI_METRICS",
        with: &[],
        shown: |plan| page(plan).store.genai.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        default: "",
        valid: &[
            ("1.41", "1.41"),
            ("genai-0.1", "genai-0.1"),
            ("GenAI-0.1, 1.41", "genai-0.1 1.41"),
            ("1.41,1.41", "1.41"),
            ("off", ""),
            ("none", ""),
        ],
        invalid: &["1.4", "1.41.0", "latest", "on", "true", "1.41,off"],
    },
    Variable {
        name: "BOTTICELLI_OBS_ALLOWED_NETWORKS",
        with: &[],
        shown: |plan| match page(plan).allowed.as_slice() {
            [] => "every network".to_owned(),
            networks => networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        },
        default: "every network",
        valid: &[
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("127.0.0.1", "127.0.0.1/32"),
            ("::1", "::1/128"),
            ("10.0.0.0/8, fd00::/8 ,,127.0.0.1,", "10.0.0.0/8 fd00::/8 127.0.0.1/32"),
            ("0.0.0.0/0,::/0", "0.0.0.0/0 ::/0"),
        ],
        invalid: &[
            "all",
            "*",
            // As an empty list these would allow all networks, for example if a template inserts two empty values.
            ",",
            " , ,",
            "localhost",
            "10.0.0.0/33",
            "fd00::/129",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "10.0.0/8",
            "10.0.0.0/255.0.0.0",
            "10.0.0.0/8,x",
            "10.0.0.0/8;127.0.0.1",
            "10.0.0.0/8 127.0.0.1",
            "fe80::1%eth0",
        ],
    },
];

#[test]
fn host_and_port_of_the_specification_go_together() {
    let variables = [("OTEL_EXPORTER_PROMETHEUS_HOST", "::1"), ("OTEL_EXPORTER_PROMETHEUS_PORT", "9999")];
    let plan = plan(variables).expect("both are valid");
    assert_eq!(page(&plan).listen.as_deref(), Some("[::1]:9999"));
}

#[test]
fn an_error_of_the_listener_can_name_the_setting_of_its_address() {
    for (variables, expected) in [
        (&[][..], "PROMETHEUS_ENDPOINT"),
        (&[("PROMETHEUS_ENDPOINT", "1")], "PROMETHEUS_ENDPOINT"),
        (
            &[("OTEL_EXPORTER_PROMETHEUS_HOST", "host"), ("OTEL_EXPORTER_PROMETHEUS_PORT", "1")],
            "OTEL_EXPORTER_PROMETHEUS_HOST",
        ),
        (&[("OTEL_EXPORTER_PROMETHEUS_PORT", "1")], "OTEL_EXPORTER_PROMETHEUS_PORT"),
    ] {
        let plan = plan(variables.iter().copied()).expect("valid");
        assert_eq!(page(&plan).listen_setting, expected);
    }
    let coded = plan_of(&Builder::new().with_prometheus_endpoint("host:1"), []).expect("valid");
    assert_eq!(page(&coded).listen_setting, "with_prometheus_endpoint");
}

#[test]
fn a_text_file_may_be_off() {
    let file = |value| plan([("BOTTICELLI_OBS_TEXTFILE", value)]).expect("valid").textfile;
    assert!(file("off").is_none() && file("None").is_none() && file("").is_none());
    assert_eq!(file("./off"), std::path::absolute("./off").ok());
}

#[test]
fn an_endpoint_beside_a_list_without_prometheus_is_refused() {
    let with = |endpoint| plan([("OTEL_METRICS_EXPORTER", "none"), ("PROMETHEUS_ENDPOINT", endpoint)]);
    for endpoint in ["9464", "0.0.0.0:9464", "nonsense"] {
        let text = assert_refused("OTEL_METRICS_EXPORTER", with(endpoint));
        assert!(text.contains("PROMETHEUS_ENDPOINT"), "{text}");
    }
    for endpoint in ["", "off", "none"] {
        assert!(with(endpoint).expect("they agree").metrics.is_none());
    }
}

#[cfg(not(feature = "otlp-metrics"))]
#[test]
fn push_of_metrics_is_refused_with_what_to_do_instead() {
    let text = assert_refused("OTEL_METRICS_EXPORTER", plan([("OTEL_METRICS_EXPORTER", "otlp")]));
    assert!(text.contains("`otlp-metrics`") && text.contains("`prometheus`"), "{text}");
}

#[test]
fn settings_of_a_page_that_is_off_are_checked_all_the_same() {
    for off in [("OTEL_METRICS_EXPORTER", "none"), ("PROMETHEUS_ENDPOINT", "off")] {
        let networks = ("BOTTICELLI_OBS_ALLOWED_NETWORKS", "nowhere");
        assert_refused(networks.0, plan([off, networks]));
    }
}

#[test]
fn a_password_in_an_endpoint_is_not_shown() {
    let text =
        assert_refused("PROMETHEUS_ENDPOINT", plan([("PROMETHEUS_ENDPOINT", "http://user:s3cret@127.0.0.1:9464")]));
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn neither_a_token_nor_what_stands_for_its_file_is_shown() {
    let name = "BOTTICELLI_OBS_TOKEN_FILE";
    let text = assert_refused(name, plan([(name, "s3cret-token-instead-of-a-path")]));
    assert!(!text.contains("s3cret"), "{text}");
    let shown = format!("{:?}", plan([(name, TOKEN_FILE)]).expect("valid"));
    assert!(!shown.contains("s3cret") && shown.contains("Token(…)"), "{shown}");
}

#[cfg(unix)]
#[test]
fn a_token_file_is_a_regular_one_and_links_are_followed() {
    use std::fs;
    use std::os::unix::fs::symlink;

    let name = "BOTTICELLI_OBS_TOKEN_FILE";
    let folder = std::env::temp_dir().join(format!("botticelli-obs-token-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("the folder can be made");
    let read = |file: &str| plan([(name, folder.join(file).to_str().expect("a path in Unicode"))]);
    let write = |file: &str, text: &[u8]| fs::write(folder.join(file), text).expect("the folder can be written to");

    write("token", b" \t s3cret-token \r\n\n");
    symlink(folder.join("token"), folder.join("link")).expect("a link");
    assert!(page(&read("link").expect("valid")).token.as_ref().expect("a token").is_shown_by(b"Bearer s3cret-token"));
    write("largest", &[b'x'; 4096]);
    assert!(page(&read("largest").expect("valid")).token.is_some());

    let fifo = std::process::Command::new("mkfifo").arg(folder.join("pipe")).status().expect("mkfifo runs");
    assert!(fifo.success());
    symlink("/dev/zero", folder.join("device")).expect("a link");
    symlink(folder.join("nowhere"), folder.join("dangling")).expect("a link");
    write("short", b"s3cret\n");
    write("words", b"s3cret token");
    write("binary", b"s3cret-token\xff");
    write("large", &[b'x'; 4097]);
    write("empty", b"");
    for (file, why) in [
        ("pipe", "not a regular file"),
        ("device", "not a regular file"),
        (".", "not a regular file"),
        ("dangling", "No such file"),
        ("short", "too short"),
        ("words", "not visible ASCII"),
        ("binary", "not visible ASCII"),
        ("large", "more than 4096 bytes"),
        ("empty", "too short"),
    ] {
        let text = assert_refused(name, read(file));
        assert!(text.contains(why) && !text.contains("s3cret") && !text.contains("xxx"), "{file}: {text}");
    }
    fs::remove_dir_all(&folder).expect("it is there");
}

#[cfg(feature = "exporter")]
#[test]
fn the_exporters_listener_beside_a_token_is_refused() {
    let listener = ("BOTTICELLI_OBS_LISTENER", "exporter");
    let text = assert_refused("BOTTICELLI_OBS_TOKEN_FILE", plan([listener, ("BOTTICELLI_OBS_TOKEN_FILE", TOKEN_FILE)]));
    assert!(text.contains("the exporter's listener"), "{text}");
    let coded = Builder::new().with_page_token("s3cret-token").with_exporter_listener();
    assert_refused("with_page_token", plan_of(&coded, []));
}

#[cfg(not(feature = "exporter"))]
#[test]
fn the_exporters_listener_is_refused_with_its_feature() {
    let coded = assert_refused("with_exporter_listener", plan_of(&Builder::new().with_exporter_listener(), []));
    let set = assert_refused("BOTTICELLI_OBS_LISTENER", plan([("BOTTICELLI_OBS_LISTENER", "exporter")]));
    assert!(coded.contains("`exporter`") && set.contains("`exporter`"), "{coded} {set}");
}
