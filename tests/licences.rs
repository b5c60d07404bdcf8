//! Everything that is linked has a licence that goes with GPL-3.0-or-later.

#![allow(
    clippy::unwrap_used,
    reason = "what this test cannot read is a failure"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

fn entry<'a>(table: &'a DeTable<'a>, key: &str) -> &'a DeValue<'a> {
    let mut entries = table.iter();
    let entry = entries.find(|(name, _)| name.get_ref() == key);
    entry.unwrap().1.get_ref()
}

#[test]
fn every_crate_has_a_licence_that_packaging_deny_toml_allows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let settings = fs::read_to_string(root.join("packaging/deny.toml")).unwrap();
    let settings = DeTable::parse(&settings).unwrap();
    let licences = entry(settings.get_ref(), "licenses");
    let allowed = entry(licences.as_table().unwrap(), "allow");
    let allowed: Vec<&str> = allowed
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|licence| licence.get_ref().as_str())
        .collect();

    // Only this system's crates: those of others are not downloaded.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", &host()])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 20, "{} crates", packages.len());
    let refused: Vec<_> = packages
        .iter()
        .map(|package| {
            (
                package["name"].as_str().unwrap(),
                package["license"].as_str().unwrap_or("none"),
            )
        })
        .filter(|(_, licence)| !is_allowed(licence, &allowed))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
}

fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap()
        .to_owned()
}

/// One alternative of the SPDX expression whose every part is allowed. `/` is the old way to write OR.
fn is_allowed(expression: &str, allowed: &[&str]) -> bool {
    // Parentheses group alternatives inside a conjunction: "(A OR B) AND C".
    let conjunction = expression
        .split(" AND ")
        .map(|part| part.trim_matches(['(', ')', ' ']));
    let by_parts = conjunction.clone().all(|part| {
        part.replace('/', " OR ")
            .split(" OR ")
            .any(|one| allowed.contains(&one.trim()))
    });
    let by_alternatives = !expression.contains('(')
        && expression.split(" OR ").any(|one| {
            one.split(" AND ")
                .all(|part| allowed.contains(&part.trim()))
        });
    by_parts || by_alternatives
}

#[test]
fn an_expression_is_read_as_spdx_means_it() {
    let allowed = ["MIT", "Unicode-3.0"];
    assert!(is_allowed("MIT OR Apache-2.0", &allowed));
    assert!(is_allowed("Unlicense/MIT", &allowed));
    assert!(is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0", &allowed));
    assert!(!is_allowed("MIT AND Proprietary", &allowed));
    assert!(!is_allowed("none", &allowed));
}
