//! Is the table of faults in `docs/delivery.md` true? Every test that it names is one, in the file that it names.

use std::path::Path;

/// What is named as `path/to/file.rs::name`.
fn named(text: &str) -> Vec<(&str, &str)> {
    let quoted = text.split('`').skip(1).step_by(2);
    let parts = quoted.filter_map(|q| q.split_once("::"));
    parts.filter(|(file, _)| Path::new(file).extension().is_some_and(|e| e == "rs")).collect()
}

/// Whether `source` has a test of this name: a function that is marked as one, or a story that a macro tells.
fn has_test(source: &str, name: &str) -> bool {
    let opens = format!("fn {name}(");
    let Some((before, after)) = source.split_once(&opens) else { return false };
    let marks = before.rsplit("\n\n").next().unwrap_or_default();
    marks.contains("#[test]") || marks.contains("#[tokio::test") || after.starts_with("rig)")
}

#[test]
fn every_test_that_it_names_is_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let doc = std::fs::read_to_string(root.join("docs/delivery.md")).unwrap();
    let rows = doc.lines().filter(|l| l.starts_with("| ") && l.contains(".rs::"));
    let numbers: Vec<usize> = rows.map(|row| row[2..].split(' ').next().unwrap().parse().unwrap()).collect();
    assert!(numbers.len() > 50, "only {} faults", numbers.len());
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>(), "the faults are numbered as they stand");
    for (file, name) in named(&doc) {
        let source = std::fs::read_to_string(root.join(file));
        let source = source.unwrap_or_else(|e| panic!("`{file}`: {e}"));
        assert!(has_test(&source, name), "`{file}` has no test `{name}`");
    }
}

#[test]
fn a_name_that_is_no_test_is_noticed() {
    let source =
        "#[test]\nfn one() {}\n\nfn none() {}\n\n#[tokio::test(start_paused = true)]\nasync fn two() {}\n";
    assert!(has_test(source, "one") && has_test(source, "two"));
    assert!(!has_test(source, "none") && !has_test(source, "three") && !has_test(source, "on"));
    assert_eq!(named("see `a/b.rs::c` and `d::e`, `f.rs`"), [("a/b.rs", "c")]);
}
