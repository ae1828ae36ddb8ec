//! `botticelli-obs stack DIR` writes what `examples/stack` has.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::bot::Bot;
use crate::support::server::{Folder, Prometheus};
use crate::support::{clear_environment, wait_for};

const PATIENCE: Duration = Duration::from_secs(120);

fn write_stack(folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_botticelli-obs")).arg("stack").arg(folder).output().expect("the program runs")
}

/// Every file below a folder, by its path there.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inside) = folders.pop() {
        for entry in fs::read_dir(inside).expect("the folder can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("it is below").to_owned();
                files.insert(name, fs::read(&path).expect("the file can be read"));
            }
        }
    }
    files
}

#[test]
fn the_stack_is_written_byte_for_byte_and_twice_is_no_matter() {
    let shipped = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/stack"));
    assert!(shipped.contains_key(Path::new("collector/collector.yaml")));
    let folder = Folder::new("stack");
    let target = folder.path().join("new/folder");
    for _ in 0..2 {
        let output = write_stack(&target);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains(env!("CARGO_PKG_VERSION")), "{output:?}");
        let written = files(&target);
        let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(
            names(&written),
            names(&shipped),
            "a new file is seen when src/bin/botticelli-obs.rs is compiled anew"
        );
        assert!(written == shipped, "contents differ");
    }
}

#[test]
fn a_file_that_somebody_has_changed_is_kept_and_nothing_is_written() {
    let folder = Folder::new("stack");
    let changed = folder.path().join("collector/compose.yaml");
    fs::create_dir_all(folder.path().join("collector")).expect("the folder can be written");
    fs::write(&changed, "mine").expect("the file can be written");
    let output = write_stack(folder.path());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("nothing was written") && said.contains("collector/compose.yaml"), "{said}");
    assert_eq!(files(folder.path()), BTreeMap::from([(PathBuf::from("collector/compose.yaml"), b"mine".to_vec())]));
}

#[test]
fn help_is_no_folder() {
    let folder = Folder::new("stack");
    for arguments in [&["--help"][..], &["help"], &["stack", "--help"], &["stack", "-h"], &["doctor", "--help"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_botticelli-obs"));
        let output = command.args(arguments).current_dir(folder.path()).output().expect("the program runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("Usage: botticelli-obs"), "{arguments:?}: {output:?}");
        assert!(said.lines().all(|line| line.chars().count() < 80), "{said}");
    }
    for arguments in [&["stack", "--force"][..], &["stack", "a", "b"], &["stack", "--", "a", "b"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_botticelli-obs"));
        let output = command.args(arguments).current_dir(folder.path()).output().expect("the program runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    }
    assert!(files(folder.path()).is_empty());
}

/// A full disk needs rights that a test may not have. A link to nowhere stops the program in the same place.
#[cfg(unix)]
#[test]
fn a_stack_that_can_not_be_written_whole_says_what_was_and_goes_on_there() {
    let folder = Folder::new("stack");
    let link = folder.path().join("grafana");
    std::os::unix::fs::symlink("nowhere/at/all", &link).expect("the link can be made");
    let output = write_stack(folder.path());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    fs::remove_file(&link).expect("the link can be removed");
    let (written, all) =
        (files(folder.path()).len(), files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/stack")).len());
    assert!(0 < written && written < all, "{written}");
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains(&format!("{written} of {all} files were written to ")) && said.contains("grafana"), "{said}");
    assert!(!said.contains("nothing was written"), "{said}");
    assert!(write_stack(folder.path()).status.success());
    assert_eq!(files(folder.path()).len(), all);
}

#[test]
fn what_is_no_file_is_in_the_way_and_not_opened() {
    let folder = Folder::new("stack");
    fs::create_dir(folder.path().join("compose.yaml")).expect("the folder can be made");
    let output = write_stack(folder.path());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("nothing was written") && said.contains("compose.yaml would be overwritten"), "{said}");
    // A file where the folder should be.
    let file = folder.path().join("file");
    fs::write(&file, "mine").expect("the file can be written");
    let said = String::from_utf8_lossy(&write_stack(&file).stderr).into_owned();
    assert!(said.contains("nothing was written: can't read ") && said.contains("Not a directory"), "{said}");
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "mine");
}

#[test]
fn the_doctor_finds_good_what_was_written() {
    let folder = Folder::new("stack");
    assert!(write_stack(folder.path()).status.success());
    let bot = Bot::start(&["--calls", "10", "--rate", "200", "--latency-scale", "0.01", "--linger", "600s"], &[]);
    bot.tally(PATIENCE);
    // The port is the bot's here, and 9464 as shipped.
    let targets = folder.path().join("prometheus/targets.yml");
    let shipped = fs::read_to_string(&targets).expect("the stack has targets");
    assert!(shipped.contains("127.0.0.1:9464"), "{shipped}");
    fs::write(&targets, shipped.replace("127.0.0.1:9464", &bot.metrics.to_string())).expect("it can be written");

    let config = folder.path().join("prometheus/prometheus.yml");
    let Some(prometheus) = Prometheus::with_config(&config, Folder::new("prometheus")) else { return };
    let address = format!("http://{}", prometheus.addr());
    let said = wait_for("prometheus has scraped", PATIENCE, || {
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_botticelli-obs"));
        clear_environment(&mut doctor);
        doctor.arg("doctor").env("PROMETHEUS_ENDPOINT", bot.metrics.to_string()).env("PROMETHEUS_URL", &address);
        let said = String::from_utf8(doctor.output().expect("the program runs").stdout).expect("it is text");
        said.contains("good    prometheus").then_some(said)
    });
    assert!(said.contains(&format!("{address} scrapes this program and holds llm_requests_total")), "{said}");
}
