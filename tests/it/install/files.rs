//! Files that variables name: regular files, or an error. Whatever else there is stays as it was.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use botticelli_obs::{Builder, FailurePolicy, LlmCall};

use crate::support::page::Page;
use crate::support::server::Folder;
use crate::support::{in_own_process, in_scenario, skip};

const LIMIT: Duration = Duration::from_secs(30);
const FOLDER: &str = "TEST_FOLDER";

/// Runs the scenario in a process of its own with a folder, in which its text file is to be, and then the rest in this one.
fn in_folder(scenario: impl FnOnce(&Path), after: impl FnOnce(&Path)) {
    in_folder_with(|folder| vec![("BOTTICELLI_OBS_TEXTFILE", format!("{folder}/bot.prom"))], scenario, after);
}

/// The same with these variables.
fn in_folder_with(
    variables: impl FnOnce(&str) -> Vec<(&'static str, String)>,
    scenario: impl FnOnce(&Path),
    after: impl FnOnce(&Path),
) {
    if in_scenario() {
        return scenario(Path::new(&std::env::var(FOLDER).expect("the parent has set it")));
    }
    let folder = Folder::new("files");
    let path = folder.path().to_str().expect("it is UTF-8");
    let mut variables = variables(path);
    variables.extend([(FOLDER, path.to_owned()), ("PROMETHEUS_ENDPOINT", "off".to_owned())]);
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    in_own_process(&variables, || unreachable!("the child does not come here"));
    after(folder.path());
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo runs").success());
}

/// Makes a copy of /dev/null; says so and returns `false` where that is not allowed.
fn make_device(path: &Path) -> bool {
    let is_made = Command::new("mknod").arg(path).args(["c", "1", "3"]).status().is_ok_and(|status| status.success());
    if !is_made {
        skip("only root can make a device");
    }
    is_made
}

/// What a path may lead to that is no regular file, with the word for it and a check that it is still there.
fn with_each_kind(path: &Path, check: impl Fn(&str)) {
    let kind = || fs::symlink_metadata(path).expect("it is there").file_type();
    make_pipe(path);
    check("a named pipe");
    assert!(kind().is_fifo());
    fs::remove_file(path).expect("it is there");

    fs::create_dir(path).expect("it can be made");
    check("a folder");
    assert!(kind().is_dir());
    fs::remove_dir(path).expect("it is empty");

    let socket = UnixListener::bind(path).expect("it can be bound");
    check("a socket");
    assert!(kind().is_socket());
    drop(socket);
    fs::remove_file(path).expect("it is there");

    if make_device(path) {
        check("a device");
        assert!(kind().is_char_device());
        fs::remove_file(path).expect("it is there");
    }
    // This one can be read without end.
    symlink("/dev/full", path).expect("a link");
    check("a device");
    assert!(kind().is_symlink());
    fs::remove_file(path).expect("it is there");
}

/// A run with one call.
fn run() {
    let telemetry = botticelli_obs::install().expect("it installs");
    LlmCall::start("gemini", "flash").finish();
    telemetry.shutdown(LIMIT).expect("the totals are written");
}

fn requests(path: &Path) -> f64 {
    let text = fs::read_to_string(path).expect("the file is there");
    let lines = text.lines().filter(|line| !line.starts_with("# Totals") && *line != "# EOF");
    Page::parse(&lines.map(|line| format!("{line}\n")).collect::<String>()).sum("llm_requests_total")
}

#[test]
fn text_file_that_is_no_file_is_an_error_and_stays() {
    let scenario = |folder: &Path| {
        let path = folder.join("bot.prom");
        with_each_kind(&path, |kind| {
            let error = botticelli_obs::install().expect_err(kind);
            let told = error.to_string();
            assert!(error.is_invalid_setting() && told.contains("BOTTICELLI_OBS_TEXTFILE"), "{told}");
            assert!(told.contains(&format!("it is {kind}, not a regular file")), "{told}");
        });
        let degrade = Builder::new().with_failure_policy(FailurePolicy::Degrade);
        make_pipe(&path);
        let telemetry = degrade.install().expect("the program runs without");
        let page = Page::parse(&telemetry.render());
        assert_eq!(page.value("botticelli_obs_pipeline_up", &[("pipeline", "textfile")]), 0.0);
        telemetry.shutdown(LIMIT).expect("there is nothing to lose");
    };
    in_folder(scenario, |_| ());
}

#[test]
fn text_file_that_is_replaced_by_something_else_meanwhile_is_an_error_and_stays() {
    let scenario = |folder: &Path| {
        let path = folder.join("bot.prom");
        let telemetry = botticelli_obs::install().expect("it installs");
        make_pipe(&path);
        let error = telemetry.shutdown(LIMIT).expect_err("the totals can't be written");
        assert!(error.is_textfile_failure() && error.to_string().contains("a named pipe"), "{error}");
        assert!(fs::symlink_metadata(&path).expect("it is there").file_type().is_fifo());
    };
    in_folder(scenario, |_| ());
}

#[test]
fn files_beside_the_text_file_that_are_no_files_are_an_error_or_removed() {
    let scenario = |folder: &Path| {
        let lock = folder.join("bot.prom.lock");
        make_pipe(&lock);
        let error = botticelli_obs::install().expect_err("the lock can't be taken");
        assert!(error.is_start_failure() && format!("{error:?}").contains("a named pipe"), "{error:?}");
        fs::remove_file(&lock).expect("it is there");

        // What is written goes beside the file, not to where somebody else's link leads.
        fs::write(folder.join("precious"), "text").expect("it can be written");
        symlink(folder.join("precious"), folder.join("bot.prom.tmp")).expect("a link");
        run();
    };
    in_folder(scenario, |folder| {
        assert_eq!(fs::read_to_string(folder.join("precious")).expect("it is there"), "text");
        assert_eq!(requests(&folder.join("bot.prom")), 1.0);
    });
}

#[test]
fn link_is_followed_and_stays() {
    let scenario = |folder: &Path| {
        fs::create_dir(folder.join("elsewhere")).expect("it can be made");
        fs::write(folder.join("elsewhere/real.prom"), "").expect("it can be written");
        // By another link, relative to its own folder.
        symlink("elsewhere/next", folder.join("bot.prom")).expect("a link");
        symlink("real.prom", folder.join("elsewhere/next")).expect("a link");
        run();
    };
    in_folder(scenario, |folder| {
        assert!(fs::symlink_metadata(folder.join("bot.prom")).expect("it is there").is_symlink());
        let real = folder.join("elsewhere/real.prom");
        assert!(fs::symlink_metadata(&real).expect("it is there").is_file());
        assert_eq!(requests(&real), 1.0);
        // The collector's folder has no other file.
        assert_eq!(fs::read_dir(folder).expect("it is there").count(), 2);
    });
}

#[test]
fn link_to_a_file_that_is_not_there_yet_makes_that_file() {
    let scenario = |folder: &Path| {
        symlink(folder.join("real.prom"), folder.join("bot.prom")).expect("a link");
        run();
    };
    in_folder(scenario, |folder| {
        assert!(fs::symlink_metadata(folder.join("bot.prom")).expect("it is there").is_symlink());
        assert_eq!(requests(&folder.join("real.prom")), 1.0);
    });
}

#[test]
fn links_in_a_circle_are_an_error() {
    let scenario = |folder: &Path| {
        symlink("other.prom", folder.join("bot.prom")).expect("a link");
        symlink("bot.prom", folder.join("other.prom")).expect("a link");
        let error = botticelli_obs::install().expect_err("there is no end");
        assert!(error.is_start_failure() && format!("{error:?}").contains("circle"), "{error:?}");
    };
    in_folder(scenario, |_| ());
}

#[test]
fn text_file_of_any_size_is_not_read_whole() {
    let scenario = |folder: &Path| {
        let file = fs::File::create(folder.join("bot.prom")).expect("it can be made");
        file.set_len(1 << 40).expect("the file may have holes");
        let error = botticelli_obs::install().expect_err("it is too large");
        assert!(error.is_start_failure() && format!("{error:?}").contains("more than 67108864 bytes"), "{error:?}");
    };
    in_folder(scenario, |_| ());
}

#[test]
fn path_is_shown_without_control_characters_and_not_longer_than_a_line() {
    let long = "long".repeat(10_000);
    for path in ["/missing/\u{1b}[31mred\u{202e}\n/bot.prom", &long] {
        let run = || {
            let told = format!("{:?}", botticelli_obs::install().expect_err("there is no such folder"));
            assert!(!told.contains(['\u{1b}', '\u{202e}', '\n']) && told.len() < 600, "{told}");
            assert!(told.contains("BOTTICELLI_OBS_TEXTFILE"), "{told}");
            #[cfg(feature = "cli")]
            {
                let told = botticelli_obs::doctor().to_string();
                assert!(!told.contains(['\u{1b}', '\u{202e}']) && told.len() < 5_000, "{told}");
            }
        };
        if in_own_process(&[("PROMETHEUS_ENDPOINT", "off"), ("BOTTICELLI_OBS_TEXTFILE", path)], run).is_none() {
            return;
        }
    }
}

#[test]
fn token_file_that_is_no_file_is_an_error() {
    let variables = [("PROMETHEUS_ENDPOINT", "off"), ("BOTTICELLI_OBS_TOKEN_FILE", "/dev/full")];
    in_own_process(&variables, || {
        let error = botticelli_obs::install().expect_err("it has no end");
        let told = error.to_string();
        assert!(told.contains("BOTTICELLI_OBS_TOKEN_FILE") && told.contains("it is a device"), "{told}");
    });
}

#[cfg(feature = "otlp-tls")]
#[test]
fn certificate_that_is_no_file_is_an_error() {
    let variables = [
        ("PROMETHEUS_ENDPOINT", "off"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:4317"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/dev/full"),
    ];
    in_own_process(&variables, || {
        let error = botticelli_obs::install().expect_err("it has no end");
        let told = error.to_string();
        assert!(told.contains("OTEL_EXPORTER_OTLP_CERTIFICATE") && told.contains("it is a device"), "{told}");
    });
}

/// The roots of the system are read only where an endpoint is encrypted, and no other certificate is named.
#[cfg(feature = "otlp-tls")]
#[test]
fn roots_that_are_no_file_or_too_large_are_an_error() {
    let variables = |folder: &str| {
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:4317".to_owned()),
            ("SSL_CERT_FILE", format!("{folder}/roots.pem")),
            ("SSL_CERT_DIR", format!("{folder}/roots")),
        ]
    };
    let scenario = |folder: &Path| {
        let told = || format!("{:?}", botticelli_obs::install().expect_err("there are no roots"));
        let path = folder.join("roots.pem");
        with_each_kind(&path, |kind| {
            let told = told();
            assert!(told.contains(&format!("SSL_CERT_FILE={}: it is {kind}", path.display())), "{told}");
        });
        fs::create_dir(folder.join("roots")).expect("it can be made");
        let too_large = |variable: &str| {
            let told = told();
            assert!(told.contains(variable) && told.contains("more than 67108864 bytes"), "{told}");
        };
        fs::File::create(&path).and_then(|file| file.set_len(1 << 40)).expect("the file may have holes");
        too_large("SSL_CERT_FILE=");
        let within = folder.join("roots/roots.pem");
        fs::rename(&path, &within).expect("it can be moved");
        too_large("SSL_CERT_DIR=");
        fs::remove_file(&within).expect("it is there");
        assert!(told().contains("SSL_CERT_FILE and SSL_CERT_DIR name no root certificates"), "{}", told());
    };
    in_folder_with(variables, scenario, |_| ());
}

#[cfg(feature = "cli")]
#[test]
fn doctor_names_roots_that_are_no_file() {
    let scenario = |folder: &Path| {
        let path = folder.join("roots.pem");
        with_each_kind(&path, |kind| {
            let told = botticelli_obs::doctor().to_string();
            assert!(told.contains(&format!("SSL_CERT_FILE={}: it is {kind}", path.display())), "{told}");
        });
    };
    in_folder_with(|folder| vec![("SSL_CERT_FILE", format!("{folder}/roots.pem"))], scenario, |_| ());
}

#[cfg(feature = "cli")]
#[test]
fn doctor_names_a_text_file_that_is_no_file() {
    let scenario = |folder: &Path| {
        with_each_kind(&folder.join("bot.prom"), |kind| {
            let diagnosis = botticelli_obs::doctor();
            let told = format!("{diagnosis}");
            assert!(told.contains("BOTTICELLI_OBS_TEXTFILE") && told.contains(kind), "{told}");
        });
    };
    in_folder(scenario, |_| ());
}
