//! The doctor finds a healthy set-up good, and names each mistake it knows, on real servers that make it.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use botticelli_obs::doctor::{Mistake, Verdict};
use botticelli_obs::{Builder, LlmCall};
use serde_json::Value;

use crate::support::bot::Bot;
use crate::support::jaeger::{Between, Jaeger, Ways};
use crate::support::observers::{Grafana, PrometheusElsewhere};
use crate::support::server::{Collector, Folder, Prometheus};
use crate::support::{clear_environment, find_program, free_port, in_own_process, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_botticelli-obs"));
    clear_environment(&mut command);
    command.env_remove("JAEGER_URL").env_remove("GRAFANA_URL");
    // Where nobody is, unless a test says who is there.
    for variable in ["PROMETHEUS_URL", "JAEGER_URL", "GRAFANA_URL"] {
        command.env(variable, "http://127.0.0.1:1");
    }
    command.args(arguments).envs(variables.iter().copied());
    command
}

/// What the doctor says under these variables.
pub(super) struct Said {
    pub(super) status: i32,
    pub(super) json: Value,
}

impl Said {
    pub(super) fn findings(&self) -> Vec<&Value> {
        self.json["findings"].as_array().expect("there are findings").iter().collect()
    }

    pub(super) fn of(&self, check: &str) -> &Value {
        let found = self.findings().into_iter().find(|finding| finding["check"] == check);
        found.unwrap_or_else(|| panic!("no finding about {check}: {:#}", self.json))
    }

    /// The names of all mistakes.
    fn mistakes(&self) -> Vec<&str> {
        self.findings().iter().filter_map(|finding| finding["mistake"].as_str()).collect()
    }

    /// Asserts that this mistake, and no other, is named, with what to do; returns the line.
    fn names(&self, mistake: &str) -> String {
        assert_eq!((self.mistakes(), self.status), (vec![mistake], 1), "{:#}", self.json);
        let finding = self.findings().into_iter().find(|finding| finding["mistake"] == mistake).expect("it is named");
        assert_eq!(finding["verdict"], "broken");
        format!("{} -> {}", finding["found"].as_str().expect("text"), finding["remedy"].as_str().expect("a remedy"))
    }
}

pub(super) fn doctor(variables: &[(&str, &str)]) -> Said {
    let output = command(&["doctor", "--json"], variables).output().expect("the program runs");
    let json = serde_json::from_slice(&output.stdout);
    let json = json.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)));
    Said { status: output.status.code().expect("it ends by itself"), json }
}

/// A bot that has made some calls and keeps its page up.
pub(super) fn bot(variables: &[(&str, &str)]) -> Bot {
    let bot = Bot::start(&["--calls", "10", "--rate", "200", "--latency-scale", "0.01", "--linger", "600s"], variables);
    bot.tally(PATIENCE);
    bot
}

pub(super) fn url(addr: SocketAddr) -> String {
    format!("http://{addr}")
}

#[test]
fn a_healthy_set_up_is_found_good() {
    let Some(jaeger) = Jaeger::start() else { return };
    let ways = Ways { traces: Some(jaeger.grpc), has_page: true, ..Ways::default() };
    let Some(collector) = Between::start(ways) else { return };
    let endpoint = url(collector.grpc);
    let program = [
        ("OTEL_METRICS_EXPORTER", "prometheus,otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_SERVICE_NAME", "bot"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ];
    let bot = bot(&program);
    let Some(prometheus) = Prometheus::scraping(bot.metrics, "1s") else { return };
    wait_for("prometheus has scraped", PATIENCE, || prometheus.query("llm_requests_total").pop());
    let grafana = Grafana::before(prometheus.addr());
    let servers = [
        ("PROMETHEUS_ENDPOINT", bot.metrics.to_string()),
        ("PROMETHEUS_URL", url(prometheus.addr())),
        ("JAEGER_URL", url(jaeger.api)),
        ("GRAFANA_URL", url(grafana.addr)),
    ];
    let servers: Vec<(&str, &str)> = servers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let said = doctor(&[&program[..], &servers].concat());
    let checks: Vec<&str> = said.findings().iter().filter_map(|finding| finding["check"].as_str()).collect();
    assert_eq!(checks, ["settings", "page", "traces", "metrics", "prometheus", "jaeger", "grafana"]);
    assert!(said.findings().iter().all(|finding| finding["verdict"] == "good"), "{:#}", said.json);
    assert_eq!((said.status, &said.json["healthy"]), (0, &Value::Bool(true)));
    // The span that it has found is the only one that it sends.
    let found = said.of("jaeger")["found"].as_str().expect("text").to_owned();
    assert!(found.contains("has the span of a call that was sent to find it there"), "{found}");
    let sent = jaeger.spans("bot").into_iter().filter(|span| span.name == "chat doctor").count();
    assert_eq!(sent, 1);
}

#[test]
fn metrics_to_jaeger_are_named() {
    let Some(jaeger) = Collector::of_traces_only() else { return };
    let bot = bot(&[]);
    let page = bot.metrics.to_string();
    for (protocol, addr) in [("grpc", jaeger.grpc), ("http/protobuf", jaeger.http)] {
        let endpoint = url(addr);
        let said = doctor_of(
            &page,
            &[
                ("OTEL_METRICS_EXPORTER", "prometheus,otlp"),
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ],
        );
        assert!(said.names("metrics-to-jaeger").contains("point OTEL_EXPORTER_OTLP_METRICS_ENDPOINT at a Collector"));
        assert_eq!(said.of("traces")["verdict"], "good", "{:#}", said.json);
    }
    // Where nothing is pushed it is no mistake.
    let endpoint = url(jaeger.grpc);
    let said = doctor_of(&page, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    assert!(said.mistakes().is_empty() && said.of("metrics")["verdict"] == "note", "{:#}", said.json);
}

/// With the page of a bot; the servers that this is not about are away.
fn doctor_of(page: &str, more: &[(&str, &str)]) -> Said {
    doctor(&[&[("PROMETHEUS_ENDPOINT", page)], more].concat())
}

#[test]
fn the_other_transports_port_is_named() {
    let bot = bot(&[]);
    let page = bot.metrics.to_string();
    for (endpoint, protocol) in [("http://localhost:4318", "grpc"), ("http://localhost:4317", "http/protobuf")] {
        let set = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
        let told = doctor_of(&page, &set).names("wrong-otlp-port");
        assert!(told.contains("OTEL_EXPORTER_OTLP_ENDPOINT") && told.contains("use port 431"), "{told}");
    }
    // And where the numbers say nothing.
    let Some(collector) = Collector::start() else { return };
    for (addr, protocol, right) in
        [(collector.http, "grpc", "http/protobuf"), (collector.grpc, "http/protobuf", "grpc")]
    {
        let endpoint = url(addr);
        let set = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
        let told = doctor_of(&page, &set).names("wrong-otlp-port");
        assert!(told.contains(&format!("set OTEL_EXPORTER_OTLP_PROTOCOL={right}")), "{told}");
    }
}

#[test]
fn a_variable_that_nobody_reads_is_named() {
    let bot = bot(&[]);
    let page = bot.metrics.to_string();
    for (slip, meant) in [
        ("OTEL_EXPORTER_OTLP_ENDPONT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("OTEL_TRACE_EXPORTER", "OTEL_TRACES_EXPORTER"),
        ("PROMETHEUS_ENDPOINTS", "PROMETHEUS_ENDPOINT"),
        ("BOTTICELLI_OBS_ALLOWED_NETWORK", "BOTTICELLI_OBS_ALLOWED_NETWORKS"),
        // Whatever the prefix and the case.
        ("BOTICELLI_OBS_ON_FAILURE", "BOTTICELLI_OBS_ON_FAILURE"),
        ("BOTTICELLI_TEXTFILE", "BOTTICELLI_OBS_TEXTFILE"),
        ("PROMETEUS_ENDPOINT", "PROMETHEUS_ENDPOINT"),
        ("OTLE_SERVICE_NAME", "OTEL_SERVICE_NAME"),
        ("otel_traces_exporter", "OTEL_TRACES_EXPORTER"),
        ("Prometheus_Endpoint", "PROMETHEUS_ENDPOINT"),
        ("RUSTLOG", "RUST_LOG"),
    ] {
        let told = doctor_of(&page, &[(slip, "s3cret")]).names("unread-variable");
        assert!(told.contains(slip) && told.contains(&format!("did you mean {meant}?")), "{told}");
        assert!(!told.contains("s3cret"), "{told}");
    }
    // An empty value counts as unset.
    let said = doctor_of(&page, &[("PROMETEUS_ENDPOINT", "")]);
    assert_eq!(said.of("settings")["verdict"], "good", "{:#}", said.json);
}

#[test]
fn variables_of_others_are_no_mistake() {
    let bot = bot(&[]);
    let page = bot.metrics.to_string();
    // Set by Kubernetes for services of these names, and by other programs.
    let others = [
        ("JAEGER_PORT", "tcp://10.0.0.1:16686"),
        ("JAEGER_SERVICE_HOST", "10.0.0.1"),
        ("PROMETHEUS_PORT", "tcp://10.0.0.1:9090"),
        ("PROMETHEUS_PORT_9090_TCP", "tcp://10.0.0.1:9090"),
        ("PROMETHEUS_PORT_9090_TCP_ADDR", "10.0.0.1"),
        ("PROMETHEUS_SERVICE_PORT_HTTP", "9090"),
        ("GRAFANA_PORT", "tcp://10.0.0.1:3000"),
        ("GRAFANA_SERVICE_PORT", "3000"),
        ("OTEL_COLLECTOR_PORT_4317_TCP_PROTO", "tcp"),
        ("PROMETHEUS_MULTIPROC_DIR", "/tmp"),
        ("MANAGER_URL", "http://localhost"),
        ("TAGGER_URL", "http://localhost"),
    ];
    let said = doctor_of(&page, &others);
    let settings: Vec<&Value> = said.findings().into_iter().filter(|finding| finding["check"] == "settings").collect();
    assert!(settings.len() == 1 && settings[0]["verdict"] == "good", "{:#}", said.json);
    // Of OpenTelemetry's: each is noted, since this crate does not read it.
    let specified = [
        ("OTEL_BLRP_EXPORT_TIMEOUT", "1"),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "1"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "1"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "1"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://localhost"),
        ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "1"),
        ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "http://localhost"),
        ("OTEL_INSTRUMENTATION_HTTP_ENABLED", "1"),
        ("OTEL_LOGS_EXPORTER", "none"),
    ];
    let said = doctor_of(&page, &specified);
    assert!(said.mistakes().is_empty(), "{:#}", said.json);
    for (name, _) in specified {
        let note = format!("{name} is set, but not read by this crate");
        assert!(
            said.findings().iter().any(|finding| finding["found"] == note && finding["verdict"] == "note"),
            "{name}"
        );
    }
}

#[test]
fn a_page_is_asked_at_the_address_that_is_set() {
    let found = |page: &str| doctor_of(page, &[]).of("page")["found"].as_str().expect("text").to_owned();
    let told = found("10.0.0.0:9464");
    assert!(told.contains("http://10.0.0.0:9464/metrics"), "{told}");
    // Nobody can connect to these two: the program answers on loopback.
    let bot = bot(&[]);
    let port = bot.metrics.port();
    let told = found(&format!("0.0.0.0:{port}"));
    assert!(told.starts_with(&format!("http://127.0.0.1:{port}/metrics answers")), "{told}");
    let told = found(&format!("[::]:{port}"));
    assert!(told.contains(&format!("http://[::1]:{port}/metrics")), "{told}");
    // Nor is anything known of a port that the system chooses.
    let said = doctor_of("127.0.0.1:0", &[]);
    assert_eq!(said.of("page")["verdict"], "note", "{:#}", said.json);
}

#[test]
fn a_page_with_a_token_is_asked_with_it() {
    let folder = Folder::new("token");
    let file = folder.path().join("token");
    std::fs::write(&file, "s3cret-token").expect("the file can be written");
    let token = ("BOTTICELLI_OBS_TOKEN_FILE", file.to_str().expect("it is text"));
    let bot = bot(&[token]);
    let page = bot.metrics.to_string();
    let said = doctor_of(&page, &[token]);
    assert_eq!(said.of("page")["verdict"], "good", "{:#}", said.json);
    let said = doctor_of(&page, &[]);
    let finding = said.of("page");
    assert!(finding["verdict"] == "broken" && finding["found"].to_string().contains("401"), "{finding:#}");
    assert!(finding["remedy"].to_string().contains("BOTTICELLI_OBS_TOKEN_FILE"), "{finding:#}");
}

/// An address of this machine that is not loopback, as a container would use to reach it.
#[expect(clippy::print_stderr, reason = "a test that was skipped says so")]
fn address_of_this_machine() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    let found = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()).map(|addr| addr.ip());
    let found = found.ok().filter(|ip| !ip.is_loopback() && !ip.is_unspecified());
    if found.is_none() {
        eprintln!("skipped: this machine has no address but loopback");
    }
    found
}

#[test]
fn a_page_on_loopback_that_is_scraped_from_elsewhere_is_named() {
    let bot = bot(&[]);
    let Some(ip) = address_of_this_machine() else { return };
    let target = SocketAddr::new(ip, bot.metrics.port());
    let Some(prometheus) = Prometheus::scraping(target, "1s") else { return };
    let told = named_of_prometheus(&bot, &prometheus, "can't scrape").names("loopback-only");
    assert!(told.contains("PROMETHEUS_ENDPOINT=0.0.0.0:") && told.contains("ALLOWED_NETWORKS"), "{told}");
}

#[test]
fn what_a_prometheus_in_a_container_runs_into_is_told_with_the_way_out() {
    let bot = bot(&[]);
    let port = bot.metrics.port();
    let refused =
        format!(r#"Get "http://localhost:{port}/metrics": dial tcp [::1]:{port}: connect: connection refused"#);
    let unknown = format!(
        r#"Get "http://host.docker.internal:{port}/metrics": dial tcp: lookup host.docker.internal on 127.0.0.11:53: no such host"#
    );
    let forbidden = "server returned HTTP status 403 Forbidden";
    for (host, error, mistake, remedy) in [
        ("localhost", refused.as_str(), Some("loopback-only"), "scrape host.docker.internal"),
        ("host.docker.internal", &unknown, None, "host.containers.internal is Podman's"),
        ("host.docker.internal", forbidden, None, "BOTTICELLI_OBS_ALLOWED_NETWORKS"),
    ] {
        let prometheus = PrometheusElsewhere::failing(&format!("{host}:{port}"), error);
        let said = doctor_of(&bot.metrics.to_string(), &[("PROMETHEUS_URL", &url(prometheus.addr))]);
        let finding = said.of("prometheus");
        assert_eq!(
            (finding["verdict"].as_str(), finding["mistake"].as_str()),
            (Some("broken"), mistake),
            "{finding:#}"
        );
        assert!(finding["remedy"].as_str().is_some_and(|told| told.contains(remedy)), "{finding:#}");
    }
}

#[test]
fn a_setting_that_is_in_the_way_of_everything_is_told_of_once() {
    let said = doctor(&[("OTEL_RESOURCE_ATTRIBUTES", "broken"), ("OTEL_METRICS_EXPORTER", "otlp")]);
    let about = said.findings().iter().filter(|finding| finding["check"] == "settings").count();
    assert!(about == 1 && said.of("settings")["verdict"] == "broken", "{:#}", said.json);
}

#[test]
fn the_wrong_scrape_port_is_named() {
    let bot = bot(&[]);
    let Some(prometheus) = Prometheus::scraping(loopback(free_port()), "1s") else { return };
    let told = named_of_prometheus(&bot, &prometheus, "scrapes 127.0.0.1").names("wrong-scrape-port");
    assert!(told.contains(&format!("correct the port of the target to {}", bot.metrics.port())), "{told}");
}

/// What the doctor says once Prometheus has tried to scrape, which shows by these words.
fn named_of_prometheus(bot: &Bot, prometheus: &Prometheus, words: &str) -> Said {
    let (page, address) = (bot.metrics.to_string(), url(prometheus.addr()));
    wait_for("prometheus has tried to scrape", PATIENCE, || {
        let said = doctor_of(&page, &[("PROMETHEUS_URL", &address)]);
        let found = said.of("prometheus")["found"].as_str().unwrap_or_default().to_owned();
        found.contains(words).then_some(said)
    })
}

#[test]
fn datasources_without_data_are_named() {
    let bot = bot(&[]);
    let page = bot.metrics.to_string();
    // A Prometheus that scrapes something else, and is well.
    let port = free_port();
    let Some(prometheus) = Prometheus::scraping_as("something-else", loopback(port), "1s") else { return };
    let other = TcpListener::bind(loopback(port)).expect("it was free a moment ago");
    std::thread::spawn(move || {
        for mut stream in other.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let page = "# TYPE other gauge\nother 1\n";
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
                page.len()
            );
            let _ = std::io::Write::write_all(&mut stream, answer.as_bytes());
        }
    });
    wait_for("prometheus has scraped", PATIENCE, || prometheus.query("other").pop());
    let address = url(prometheus.addr());
    let told = doctor_of(&page, &[("PROMETHEUS_URL", &address)]).names("empty-datasource");
    assert!(told.contains("dashboards on it stay empty") && told.contains(&page), "{told}");
    // And a Grafana whose datasource is that one.
    let grafana = Grafana::before(prometheus.addr());
    let told = doctor_of(&page, &[("GRAFANA_URL", &url(grafana.addr))]).names("empty-datasource");
    assert!(told.contains("its panels stay empty"), "{told}");
}

/// The page of a program with an exporter that was set up by hand.
fn page_by_hand(port: u16) -> tokio::runtime::Runtime {
    use metrics_exporter_prometheus::PrometheusBuilder;

    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be had");
    let entered = runtime.enter();
    let built = PrometheusBuilder::new().with_http_listener(loopback(port)).build();
    let (recorder, exporter) = built.expect("the port is free");
    drop(entered);
    runtime.spawn(exporter);
    botticelli_obs::metrics::with_local_recorder(&recorder, || {
        botticelli_obs::counter!("llm.requests", "provider" => "gemini").increment(1);
        botticelli_obs::histogram!("llm.duration", "provider" => "gemini").record(0.1);
    });
    runtime
}

#[test]
fn counters_without_total_and_summaries_are_named() {
    let port = free_port();
    let _page = page_by_hand(port);
    let said = doctor_of(&port.to_string(), &[]);
    assert_eq!(said.mistakes(), ["counter-without-total", "summary-instead-of-histogram"], "{:#}", said.json);
    assert_eq!(said.status, 1);
    let told = format!("{:#}", said.json);
    assert!(told.contains("has llm_requests and not llm_requests_total"), "{told}");
    assert!(told.contains("no llm_duration_bucket"), "{told}");
}

#[test]
fn a_page_that_is_not_there_or_not_ours_or_not_for_us_is_told_of() {
    let told = |page: &str| doctor_of(page, &[]).of("page")["found"].as_str().expect("text").to_owned();
    assert!(told(&free_port().to_string()).contains("Connection refused"));
    if let Some(prometheus) = Prometheus::scraping(loopback(free_port()), "1s") {
        assert!(told(&prometheus.addr().to_string()).contains("is another program"));
    }
    let bot = bot(&[("BOTTICELLI_OBS_ALLOWED_NETWORKS", "10.0.0.0/8")]);
    assert!(told(&bot.metrics.to_string()).contains("403"));
}

#[test]
fn a_service_that_jaeger_does_not_know_is_told_of() {
    let bot = bot(&[("OTEL_SERVICE_NAME", "bot")]);
    let Some(jaeger) = Jaeger::start() else { return };
    let said = doctor_of(&bot.metrics.to_string(), &[("JAEGER_URL", &url(jaeger.api))]);
    let found = said.of("jaeger")["found"].as_str().expect("text");
    assert!(found.contains("does not know the service bot, which has sent no span yet"), "{found}");
}

#[test]
fn secrets_are_never_printed() {
    let bot = bot(&[]);
    let secret = [
        ("PROMETHEUS_URL", "http://user:s3cret@127.0.0.1:1/?token=s3cret"),
        ("JAEGER_URL", "http://s3cret@127.0.0.1:1/#s3cret"),
        ("GRAFANA_URL", "user:s3cret@127.0.0.1:1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret"),
        ("OTEL_METRICS_EXPORTER", "prometheus,otlp"),
    ];
    let page = bot.metrics.to_string();
    for endpoint in ["http://127.0.0.1:1", "http://user:s3cret@127.0.0.1:1", "http://127.0.0.1:1/?key=s3cret"] {
        for form in [&["doctor", "--json"][..], &["doctor"]] {
            let more = [("PROMETHEUS_ENDPOINT", page.as_str()), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint)];
            let output = command(form, &[&secret[..], &more].concat()).output().expect("the program runs");
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(said.contains("http://127.0.0.1:1") && !said.contains("s3cret"), "{said}");
        }
    }
}

#[test]
fn servers_that_never_answer_are_given_up_within_ten_seconds() {
    let silent = TcpListener::bind(loopback(0)).expect("loopback has free ports");
    let addr = silent.local_addr().expect("it is bound");
    let connections = std::thread::spawn(move || silent.incoming().flatten().take(64).collect::<Vec<_>>());
    let (page, address) = (addr.to_string(), url(addr));
    let started = Instant::now();
    let said = doctor(&[
        ("PROMETHEUS_ENDPOINT", &page),
        ("OTEL_METRICS_EXPORTER", "prometheus,otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &address),
        ("PROMETHEUS_URL", &address),
        ("JAEGER_URL", &address),
        ("GRAFANA_URL", &address),
    ]);
    // The promise is 10 s; the rest is for a machine that has other things to do.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(said.status, 1);
    for check in ["page", "traces", "metrics", "prometheus", "jaeger", "grafana"] {
        assert_eq!(said.of(check)["verdict"], "broken", "{check}: {:#}", said.json);
    }
    drop(connections);
}

#[test]
fn lines_are_coloured_on_a_terminal_only() {
    let piped = command(&["doctor"], &[]).output().expect("the program runs");
    assert!(!piped.stdout.contains(&b'\x1b') && piped.status.code() == Some(1));
    let text = String::from_utf8_lossy(&piped.stdout).into_owned();
    assert!(text.contains("\nbroken  page ") && text.contains("-> "), "{text}");

    let Some(script) = find_program("script") else { return };
    for (variable, value, is_coloured) in
        [("TERM", "xterm", true), ("TERM", "dumb", false), ("NO_COLOR", "1", false), ("NO_COLOR", "", true)]
    {
        let mut terminal = Command::new(&script);
        clear_environment(&mut terminal);
        terminal.env_remove("NO_COLOR").env("TERM", "xterm").env(variable, value);
        let program = env!("CARGO_BIN_EXE_botticelli-obs");
        let output = terminal.args(["-qec", &format!("{program} doctor"), "/dev/null"]).stdin(Stdio::null()).output();
        let output = String::from_utf8_lossy(&output.expect("script runs").stdout).into_owned();
        assert_eq!(output.contains("\x1b[31mbroken\x1b[0m"), is_coloured, "{variable}={value}: {output:?}");
        assert_eq!(output.contains('\x1b'), is_coloured, "{variable}={value}: {output:?}");
    }
}

#[test]
fn a_program_can_ask_the_doctor_itself() {
    let port = free_port().to_string();
    let variables = [("PROMETHEUS_ENDPOINT", port.as_str()), ("PROMETHEUS_URL", "http://127.0.0.1:1")];
    in_own_process(&variables, || {
        let _telemetry = Builder::new().install().expect("it installs");
        LlmCall::start("gemini", "gemini-2.5-flash").finish();
        let diagnosis = botticelli_obs::doctor();
        let of = |check: &str| diagnosis.findings().iter().find(|finding| finding.check == check).expect("it is there");
        assert_eq!((of("page").verdict, of("prometheus").verdict), (Verdict::Good, Verdict::Broken), "{diagnosis}");
        assert!(!diagnosis.is_healthy());
        assert_eq!(Mistake::MetricsToJaeger.as_str(), "metrics-to-jaeger");
    });
}

#[test]
fn what_the_program_does_not_understand_it_says() {
    for arguments in [&[][..], &["docter"], &["doctor", "--xml"], &["stack"]] {
        let output = command(arguments, &[]).output().expect("the program runs");
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty() && String::from_utf8_lossy(&output.stderr).contains("Usage: botticelli-obs"));
    }
    let output = command(&["--version"], &[]).output().expect("the program runs");
    assert!(String::from_utf8_lossy(&output.stdout).contains(env!("CARGO_PKG_VERSION")));
}
