//! The reference in `docs/configuration.md` says what the code does: every key is in it, and each
//! example loads.

use super::*;
use crate::profile::Profile;

const DOCS: &str = include_str!("../../../docs/configuration.md");

/// The rows of the tables below a heading, up to the next heading of its level.
fn rows_below(heading: &str) -> Vec<&'static str> {
    let start = DOCS
        .find(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no {heading}"));
    let level = heading.split(' ').next().unwrap();
    let body = DOCS[start + 1..].split_once('\n').unwrap().1;
    let end = body.find(&format!("\n{level} ")).unwrap_or(body.len());
    body[..end]
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect()
}

/// The names in the first cell of each row.
fn names(rows: &[&str]) -> Vec<String> {
    rows.iter()
        .flat_map(|row| {
            let first = row.trim_start_matches("| ").split(" |").next().unwrap();
            let words = first.split('`').skip(1).step_by(2);
            words.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn every_key_is_in_the_reference() {
    for (heading, keys) in [
        ("## `[server]`", raw::keys::<RawServer>()),
        ("## `[log]`", raw::keys::<RawLog>()),
        ("## `[reasoning]`", raw::keys::<RawReasoning>()),
        ("## `[upstreams.NAME]`", raw::keys::<RawUpstream>()),
        ("## `[models.\"NAME\"]`", raw::keys::<RawModel>()),
        ("## `[profiles.NAME]`", raw::keys::<RawPreset>()),
    ] {
        let mut documented = names(&rows_below(heading));
        documented.sort();
        let mut keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        keys.sort();
        assert_eq!(documented, keys, "{heading}");
    }
    for key in raw::keys::<RawConfig>() {
        let is_there = DOCS.contains(&format!("## `[{key}]`"))
            || DOCS.contains(&format!("## `[{key}.NAME]`"))
            || DOCS.contains(&format!("## `[{key}.\"NAME\"]`"))
            || DOCS.contains(&format!("| `{key}` |"));
        assert!(is_there, "{key}");
    }
}

#[test]
fn every_profile_and_each_of_its_keys_is_in_the_reference() {
    let rows = rows_below("## Profiles");
    for name in crate::profile::names() {
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
    let documents = [
        ("configuration.md", DOCS),
        ("README.md", include_str!("../../../README.md")),
        (
            "troubleshooting.md",
            include_str!("../../../docs/troubleshooting.md"),
        ),
    ];
    let mut loaded = 0;
    for (name, text) in documents {
        let blocks = text.split("```toml\n").skip(1);
        for block in blocks {
            let block = block.split("```").next().unwrap();
            // Others are Codex's, whose tables have other names.
            if block.contains("model_provider") {
                continue;
            }
            let whole = match block.contains("base_url") {
                true => block.to_owned(),
                false => format!("{block}\n{ONE}"),
            };
            let mut world = World::with(&whole);
            for variable in ["OPENROUTER_API_KEY", "AZURE_OPENAI_API_KEY"] {
                world = world.env(variable, "k");
            }
            let real = crate::app::check_dialect;
            let config = load_in(world.folder.path(), &world.flags, world.env.clone(), real);
            config.unwrap_or_else(|error| panic!("{name}: {error}\n{block}"));
            loaded += 1;
        }
    }
    assert!(loaded >= 4, "{loaded} examples");
}
