//! What documents say of the crate's versions.

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
