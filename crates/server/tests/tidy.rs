//! House rules that a compiler does not check.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Files longer than this (their trailing test module not counted) are split.
const LONGEST_FILE: usize = 600;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is two folders up")
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable folder") {
        let path = entry.expect("readable entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn all_rust_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    rust_files(&workspace().join("crates"), &mut found);
    assert!(found.len() > 20, "the walk found only {} files: it looks in the wrong place", found.len());
    found
}

fn production_lines(text: &str) -> usize {
    text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count()
}

#[test]
fn no_file_is_a_boulder() {
    let too_long: Vec<String> = all_rust_files()
        .into_iter()
        .filter_map(|path| {
            let lines = production_lines(&fs::read_to_string(&path).expect("UTF-8 source"));
            (lines > LONGEST_FILE).then(|| format!("{}: {lines} lines", path.display()))
        })
        .collect();
    assert!(too_long.is_empty(), "longer than {LONGEST_FILE} lines:\n{}", too_long.join("\n"));
}

#[test]
fn every_production_file_says_what_it_is_for() {
    let silent: Vec<String> = all_rust_files()
        .into_iter()
        .filter(|path| path.components().any(|c| c.as_os_str() == "src"))
        .filter(|path| !fs::read_to_string(path).expect("UTF-8 source").trim_start().starts_with("//!"))
        .map(|path| path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "no module documentation:\n{}", silent.join("\n"));
}

/// Names of all tests that are run: a line that says so stands a few lines before the function.
fn tests_that_exist() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in all_rust_files() {
        let source = fs::read_to_string(path).expect("UTF-8 source");
        let (mut since, mut is_ignored) = (usize::MAX, false);
        for line in source.lines().map(str::trim_start) {
            since = since.saturating_add(1);
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                (since, is_ignored) = (0, false);
            }
            is_ignored |= line.starts_with("#[ignore");
            let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
            if let (Some(function), true) = (function, since <= 5) {
                let name: String = function.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                since = usize::MAX;
                names.extend((!is_ignored).then_some(name));
            }
        }
    }
    names
}

#[test]
fn every_rule_of_behaviour_names_a_test_that_exists() {
    let exist = tests_that_exist();
    let page = fs::read_to_string(workspace().join("docs/behaviour.md")).expect("the page is there");
    let rules: Vec<&str> = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| rule")).collect();
    assert!(rules.len() > 30, "the page was not understood");
    for rule in rules {
        let shown_by = rule.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        for test in shown_by.split(", ").map(|name| name.trim_matches('`')) {
            assert!(exist.contains(test), "no test '{test}' shows this rule: {rule}");
        }
    }
}

/// The table of what may run beside a sweep.
#[test]
fn whatever_may_run_beside_a_sweep_names_tests_that_exist() {
    let exist = tests_that_exist();
    let page = fs::read_to_string(workspace().join("docs/store.md")).expect("the page is there");
    let rows: Vec<&str> = page.lines().skip_while(|l| !l.starts_with("| beside")).skip(2).collect();
    let rows: Vec<&str> = rows.into_iter().take_while(|line| line.starts_with("| ")).collect();
    assert!(rows.len() > 10, "the page was not understood");
    for row in rows {
        let shown_by = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let named: Vec<&str> = shown_by.split('`').skip(1).step_by(2).collect();
        assert!(named.iter().all(|test| exist.contains(*test)), "no such test: {row}");
        assert!(!named.is_empty() || shown_by.starts_with("the two above"), "nothing shows this: {row}");
    }
}

#[test]
fn no_drawer_is_opened() {
    let drawers: Vec<String> = all_rust_files()
        .into_iter()
        .filter(|path| {
            let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
            ["util", "utils", "common", "helper", "helpers", "misc"].contains(&stem)
        })
        .map(|path| path.display().to_string())
        .collect();
    assert!(drawers.is_empty(), "name these by what they hold:\n{}", drawers.join("\n"));
}
