//! The documents say what the code does: profiles are in the reference as the table has them, and each
//! example of a configuration loads.

use std::fs;

use antiphon::app::check_dialect;
use antiphon::config::{Flags, load};
use antiphon::profile::{self, Profile};

use super::support::root;

const DOCS: &str = include_str!("../../../docs/configuration.md");

#[test]
fn every_profile_and_each_of_its_keys_is_in_the_reference() {
    let rows: Vec<&str> = DOCS
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    for name in profile::names() {
        let row = rows
            .iter()
            .find(|row| row.starts_with(&format!("| `{name}` | ")));
        let row = row.unwrap_or_else(|| panic!("{name} is not in the table"));
        let entry = Profile::built_in(&name).unwrap();
        for host in &entry.hosts {
            assert!(row.contains(&format!("`{host}`")), "{name}: {host}");
        }
        for (key, value) in &entry.differs {
            let shown = match value {
                // Its order is that of the table's file.
                toml::Value::Table(_) => format!("`{key} = {{ "),
                value => format!("`{key} = {value}`"),
            };
            assert!(row.contains(&shown), "{name} lacks {shown}: {row}");
        }
    }
    for key in Profile::default().to_table().keys() {
        let row = rows
            .iter()
            .any(|row| row.starts_with(&format!("| `{key}` | ")));
        assert!(row, "the key {key} is not in the reference");
    }
}

#[test]
fn every_example_in_the_documents_loads() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut loaded = 0;
    for name in [
        "docs/configuration.md",
        "README.md",
        "docs/access.md",
        "docs/troubleshooting.md",
    ] {
        let text = fs::read_to_string(root().join(name)).expect("a document");
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap_or_default();
            // Others are Codex's, whose tables have other names.
            if block.contains("model_provider") {
                continue;
            }
            let whole = match block.contains("base_url") {
                true => block.to_owned(),
                false => format!("{block}\n[upstreams.a]\nbase_url = \"http://a/v1\"\n"),
            };
            let file = home.path().join("proxy.toml");
            fs::write(&file, whole).expect("it is written");
            let flags = Flags {
                config: Some(file),
                ..Flags::default()
            };
            if let Err(error) = load(&flags, [], check_dialect) {
                panic!("{name}: {error}\n{block}");
            }
            loaded += 1;
        }
    }
    assert!(loaded >= 4, "{loaded} examples");
}
