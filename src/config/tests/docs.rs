//! The reference in `docs/configuration.md` says what the code does: every key is in it.

use super::*;

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
        ("## `[server.tls]`", raw::keys::<RawTls>()),
        ("## `[auth]`", raw::keys::<RawAuth>()),
        ("## `[[keys]]`", raw::keys::<RawKey>()),
        ("## `[limits]`", raw::keys::<RawLimits>()),
        ("## `[cors]`", raw::keys::<RawCors>()),
        ("## `[log]`", raw::keys::<RawLog>()),
        ("## `[metrics]`", raw::keys::<RawMetrics>()),
        ("## `[tracing]`", raw::keys::<RawTracing>()),
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
            || DOCS.contains(&format!("## `[[{key}]]`"))
            || DOCS.contains(&format!("## `[{key}.NAME]`"))
            || DOCS.contains(&format!("## `[{key}.\"NAME\"]`"))
            || DOCS.contains(&format!("| `{key}` |"));
        assert!(is_there, "{key}");
    }
}
