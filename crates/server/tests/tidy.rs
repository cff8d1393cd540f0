//! House rules that a compiler does not check.

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

#[test]
fn every_rule_of_behaviour_names_a_test_that_exists() {
    let mut sources = String::new();
    for path in all_rust_files() {
        sources.push_str(&fs::read_to_string(path).expect("UTF-8 source"));
    }
    let page = fs::read_to_string(workspace().join("docs/behaviour.md")).expect("the page is there");
    let rules: Vec<&str> = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| rule")).collect();
    assert!(rules.len() > 30, "the page was not understood");
    for rule in rules {
        let shown_by = rule.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let tests: Vec<&str> = shown_by.split(", ").map(|name| name.trim_matches('`')).collect();
        for test in &tests {
            let is_name = !test.is_empty() && test.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let exists = sources.contains(&format!("fn {test}("));
            assert!(is_name && exists, "no test '{test}' shows this rule: {rule}");
        }
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
