//! The README tells the truth.

use keywheel::app::SETTINGS;

const README: &str = include_str!("../../README.md");

#[test]
fn the_table_of_settings_is_the_one_that_the_program_reads() {
    let rows: Vec<String> = SETTINGS
        .iter()
        .map(|setting| {
            let default = match setting.default {
                "" => "–".to_owned(),
                default => format!("`{default}`"),
            };
            let environment = setting.environment.join("`, `");
            format!(
                "| `{}` | `{environment}` | {default} | {} |",
                setting.key, setting.meaning
            )
        })
        .collect();
    let expected = rows.join("\n");
    assert!(README.contains(&expected), "the README's table should be:\n{expected}");
}

#[test]
fn every_file_that_is_linked_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let links: Vec<&str> = README
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .collect();
    assert!(links.len() > 8);
    for link in links.into_iter().filter(|link| !link.starts_with("http")) {
        assert!(root.join(link).exists(), "{link}");
    }
}
