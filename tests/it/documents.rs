//! What documents say of the crate's versions, what their examples show, and on which systems the code is compiled.

use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENTS: &[(&str, &str)] =
    &[("README.md", include_str!("../../README.md")), ("src/guide.md", include_str!("../../src/guide.md"))];

/// What follows `before` in each line, up to the next quotation mark or space.
fn words<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).map(|after| after.split(['"', ' ']).next().unwrap_or_default())
}

#[test]
fn dependencies_name_this_version() {
    let this = format!("{}.{}", env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"));
    for (document, text) in DOCUMENTS {
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("botticelli_obs = ")).collect();
        assert!(!lines.is_empty(), "{document} shows no dependency");
        for line in lines {
            let words: Vec<&str> =
                ["version = \"", "botticelli_obs = \""].into_iter().flat_map(|before| words(line, before)).collect();
            assert_eq!(words, [this.as_str()], "{document}: {line}");
        }
    }
}

#[test]
fn readme_names_the_minimum_rust_version() {
    let readme = DOCUMENTS[0].1;
    assert_eq!(words(readme, "\nRust ").collect::<Vec<_>>(), [env!("CARGO_PKG_RUST_VERSION")]);
}

/// Every file with this extension below folders of the package, by its path there.
fn files(folders: &[&str], extension: &str) -> Vec<(PathBuf, String)> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| package.join(folder)).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the folder can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|of| of == extension) {
                let text = fs::read_to_string(&path).expect("it is text");
                files.push((path.strip_prefix(package).expect("it is below").to_owned(), text));
            }
        }
    }
    files
}

/// The Rust examples of a document in Markdown: of each the lines that are shown and the hidden ones.
fn examples(markdown: &str) -> Vec<(Vec<&str>, Vec<&str>)> {
    let mut examples = Vec::new();
    let mut current: Option<(bool, Vec<&str>, Vec<&str>)> = None;
    for line in markdown.lines() {
        match (&mut current, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => {
                let is_rust = ["", "rust", "no_run", "compile_fail", "should_panic"]
                    .contains(&language.split(',').next().unwrap_or(""));
                current = Some((is_rust, Vec::new(), Vec::new()));
            }
            (Some(_), Some(_)) => {
                let (is_rust, shown, hidden) = current.take().expect("it is some");
                if is_rust {
                    examples.push((shown, hidden));
                }
            }
            (Some((_, shown, hidden)), None) => match line.trim_start().strip_prefix('#') {
                Some(code) if code.is_empty() || code.starts_with(' ') => hidden.push(code.trim()),
                _ => shown.push(line),
            },
            (None, None) => {}
        }
    }
    examples
}

/// The doc comments of a source file as Markdown.
fn doc_comments(source: &str) -> String {
    let comment = |line: &str| {
        let line = line.trim_start();
        let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?;
        Some(text.strip_prefix(' ').unwrap_or(text).to_owned())
    };
    source.lines().filter_map(comment).collect::<Vec<_>>().join("\n")
}

/// The name that a line of code defines.
fn defined(code: &str) -> Option<&str> {
    let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    words.find(|word| {
        matches!(
            *word,
            "const" | "enum" | "fn" | "let" | "macro_rules" | "mod" | "static" | "struct" | "trait" | "type" | "use"
        )
    })?;
    words.find(|word| *word != "mut")
}

#[test]
fn examples_show_what_a_reader_has_to_type() {
    let mut documents: Vec<(PathBuf, String)> =
        files(&["src", "macros/src"], "rs").into_iter().map(|(path, source)| (path, doc_comments(&source))).collect();
    documents.extend(files(&["src"], "md"));
    documents.push(("README.md".into(), DOCUMENTS[0].1.to_owned()));
    assert!(documents.iter().any(|(path, _)| path.ends_with("guide.md")));
    for (path, text) in &documents {
        for (shown, hidden) in examples(text) {
            let shown = shown.join("\n");
            let words: Vec<&str> = shown.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            let defines = |name: &str| shown.lines().any(|line| defined(line) == Some(name));
            for line in hidden {
                assert!(
                    !line.starts_with("use "),
                    "{}: `{line}` is hidden from the reader of\n{shown}",
                    path.display()
                );
                let name = defined(line).filter(|name| words.contains(name) && !defines(name));
                assert!(name.is_none(), "{}: `{line}` is hidden from the reader of\n{shown}", path.display());
            }
        }
    }
}

/// The width of rustdoc's column: what is longer runs off its edge.
#[test]
fn examples_fit_the_page() {
    let lib = files(&["src"], "rs").into_iter().filter(|(path, _)| path.ends_with("src/lib.rs"));
    let mut documents: Vec<(PathBuf, String)> = lib.map(|(path, source)| (path, doc_comments(&source))).collect();
    documents.extend(files(&["src"], "md"));
    assert!(documents.len() >= 3, "{}", documents.len());
    for (path, text) in &documents {
        for (shown, _) in examples(text) {
            for line in shown {
                assert!(line.chars().count() <= 94, "{}: too long for the page: {line}", path.display());
            }
        }
    }
}

#[test]
fn code_for_one_system_is_compiled_on_that_system_only() {
    const OF_ONE_SYSTEM: &[&str] = &["os::unix", "os::fd", "os::linux", "os::windows", "signal::unix", "\"/proc/"];
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let mut seen = 0;
    for (path, source) in files(&["src", "examples", "macros/src"], "rs") {
        let lines: Vec<&str> = source.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if !OF_ONE_SYSTEM.iter().any(|path| code.contains(path)) {
                continue;
            }
            seen += 1;
            // The attributes of the line and of the items around it.
            let mut depth = indentation(line);
            let mut is_attribute_possible = true;
            let is_configured = lines[..number].iter().rev().filter(|line| !line.trim().is_empty()).any(|line| {
                let is_attribute = line.trim_start().starts_with("#[");
                if indentation(line) < depth {
                    depth = indentation(line);
                    is_attribute_possible = true;
                } else if !is_attribute {
                    is_attribute_possible = is_attribute_possible && indentation(line) > depth;
                }
                is_attribute && is_attribute_possible && indentation(line) == depth && line.contains("cfg(")
            });
            let is_test = path.iter().any(|part| part == "tests") || path.ends_with("tests.rs");
            assert!(
                is_configured || is_test || source.starts_with("#![cfg("),
                "{}:{}: no `cfg` around `{line}`",
                path.display(),
                number + 1
            );
        }
    }
    assert!(seen > 3, "{seen}");
}
