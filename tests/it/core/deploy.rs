//! What is under `deploy/` fits the program: its configurations load, and dashboard and alerts ask for
//! metrics that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use antiphon::app::check_dialect;
use antiphon::config::{Config, ConfigError, Flags, load};

use super::support::root;
use crate::support::scrape::{listed, metric_of};

/// Where Secrets are mounted in a pod.
const SECRETS: &str = "/run/secrets/antiphon";

#[test]
fn every_configuration_loads() {
    let files = below("deploy", "toml");
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).expect("a configuration");
        match loaded(&text) {
            Ok(config) => assert!(!config.upstreams.is_empty(), "{}", file.display()),
            Err(error) => panic!("{}: {error}", file.display()),
        }
    }
}

/// The configuration in a pod: with the files of its Secrets, and the variables that refer to others.
fn loaded(text: &str) -> Result<Config, ConfigError> {
    let home = tempfile::tempdir().expect("a temporary folder");
    let keys = "[[keys]]\nname = \"a\"\nhash = \"sha256:";
    fs::write(
        home.path().join("keys.toml"),
        format!("{keys}{}\"\n", "ab".repeat(32)),
    )
    .expect("it is written");
    fs::write(home.path().join("seal.key"), "A".repeat(43)).expect("it is written");
    let file = home.path().join("proxy.toml");
    let text = text.replace(SECRETS, &home.path().to_string_lossy());
    fs::write(&file, text).expect("it is written");
    let flags = Flags {
        config: Some(file),
        ..Flags::default()
    };
    let env = [("DATABASE_URL", "postgres://antiphon@postgres/antiphon")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    load(&flags, env, check_dialect)
}

#[test]
fn the_list_of_metrics_is_that_of_the_documents() {
    let text = fs::read_to_string(root().join("docs/observability.md")).expect("a document");
    let mut told = BTreeMap::new();
    for row in text.lines().filter(|row| row.starts_with("| `antiphon_")) {
        let columns: Vec<&str> = row.split('|').map(str::trim).collect();
        let labels = columns[3].replace([' ', '–'], "");
        told.insert(
            columns[1].trim_matches('`').to_owned(),
            (columns[2].to_owned(), labels),
        );
    }
    let of_ours = |name: &String| name.starts_with("antiphon_");
    let listed: BTreeMap<_, _> = listed()
        .into_iter()
        .filter(|(name, _)| of_ours(name))
        .collect();
    assert_eq!(told, listed);
}

#[test]
fn dashboard_and_alerts_ask_for_metrics_that_there_are() {
    let known = listed();
    let dashboard = root().join("deploy/grafana/dashboard.json");
    let mut used = BTreeSet::new();
    for file in std::iter::once(dashboard).chain(below("deploy", "yaml")) {
        let text = fs::read_to_string(&file).expect("a file");
        for name in metrics_in(&text) {
            let base = metric_of(&name, &known);
            assert!(
                known.contains_key(base),
                "{} asks for {name}",
                file.display()
            );
            used.insert(base.to_owned());
        }
    }
    // What nobody looks at need not be counted.
    let unused: Vec<_> = known.keys().filter(|name| !used.contains(*name)).collect();
    assert!(unused.is_empty(), "nothing shows {unused:?}");
}

/// The names of metrics in a text. Rules that record (`antiphon:…`) and files are none.
fn metrics_in(text: &str) -> Vec<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':' || c == '-';
    let words = text.split(|c| !word(c));
    let words = words.filter(|word| {
        let of_the_process = ["resident", "cpu", "open", "max", "start"];
        let process = word.strip_prefix("process_").is_some_and(|rest| {
            of_the_process
                .iter()
                .any(|first| rest.starts_with(&format!("{first}_")))
        });
        process || word.starts_with("antiphon_")
    });
    words.map(str::to_owned).collect()
}

/// The files in a folder, and in those below it, whose names end so.
fn below(folder: &str, end: &str) -> Vec<PathBuf> {
    fn look(folder: &Path, end: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                look(&path, end, found);
            } else if path.extension().is_some_and(|extension| extension == end) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    look(&root().join(folder), end, &mut found);
    found.sort();
    found
}
