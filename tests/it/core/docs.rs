//! The documents say what the code does: profiles are in the reference as the table has them, examples of
//! configurations load, links lead somewhere, and the book has all its pages.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use antiphon::app::check_dialect;
use antiphon::config::{Flags, load};
use antiphon::profile::{self, Profile};

use super::support::root;
use crate::support::pages::{Page, page, pages};

#[test]
fn every_profile_and_each_of_its_keys_is_in_the_reference() {
    let reference = page("docs/configuration.md").text;
    let rows: Vec<&str> = reference
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

/// A section says by what its server is known; its example, without naming a profile, gets that one.
#[test]
fn every_profile_has_a_section_whose_example_is_known_by_itself() {
    let providers = page("docs/providers.md").text;
    let sections: Vec<&str> = providers.split("\n### ").skip(1).collect();
    for name in profile::names()
        .into_iter()
        .filter(|name| name != "generic")
    {
        let begins = format!("Profile `{name}`; known by ");
        let section = sections.iter().find(|section| section.contains(&begins));
        let section = section.unwrap_or_else(|| panic!("{name} has no section"));
        for host in &Profile::built_in(&name).unwrap().hosts {
            assert!(section.contains(&format!("`{host}`")), "{name}: {host}");
        }
        let address = section.split("base_url = \"").nth(1).expect("an example");
        let address = address.split('"').next().unwrap();
        let url = url::Url::parse(address).unwrap();
        let (host, port) = (url.host_str().unwrap(), url.port());
        let found = profile::resolve("auto", host, port, &toml::Table::new());
        assert_eq!(found.unwrap().0, name, "{address}");
    }
}

#[test]
fn every_example_of_a_configuration_loads() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let file = home.path().join("proxy.toml");
    let mut loaded = 0;
    for page in pages() {
        for block in page.blocks_in("toml") {
            // Others are Codex's, whose tables have other names.
            if block.contains("model_provider") {
                block.parse::<toml::Table>().expect("it is TOML");
                continue;
            }
            fs::write(&file, whole(&block, home.path())).expect("it is written");
            let flags = Flags {
                config: Some(file.clone()),
                ..Flags::default()
            };
            if let Err(error) = load(&flags, [], check_dialect) {
                panic!("{}: {error}\n{block}", page.path.display());
            }
            loaded += 1;
        }
    }
    assert!(loaded >= 40, "{loaded} examples");
}

/// An example with what it takes for granted: an upstream, and files that are there.
fn whole(example: &str, home: &Path) -> String {
    let key = home.join("key");
    fs::write(&key, "secret").expect("it is written");
    let lines = example.lines().map(|line| match line.split_once(" = ") {
        Some((name @ "api_key_file", _)) => format!("{name} = {key:?}\n"),
        _ => format!("{line}\n"),
    });
    let lines: String = lines.collect();
    match example.contains("[upstreams.") {
        true => lines,
        false => format!("{lines}\n[upstreams.a]\nbase_url = \"http://a/v1\"\n"),
    }
}

#[test]
fn json_in_the_documents_is_json() {
    let mut read = 0;
    for page in pages() {
        for block in page.blocks_in("json") {
            if let Err(error) = serde_json::from_str::<serde_json::Value>(&block) {
                panic!("{}: {error}\n{block}", page.path.display());
            }
            read += 1;
        }
    }
    assert!(read >= 8, "{read} blocks");
}

#[test]
fn the_book_has_all_its_pages() {
    let summary = page("docs/SUMMARY.md");
    let listed = summary.links();
    let once: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    assert_eq!(once.len(), listed.len(), "a page is listed twice");
    let pages = pages();
    let there: BTreeSet<&str> = pages
        .iter()
        .filter_map(|page| page.path.strip_prefix("docs").ok()?.to_str())
        .filter(|name| *name != "SUMMARY.md")
        .collect();
    assert_eq!(once, there);
}

#[test]
fn every_link_and_every_anchor_leads_somewhere() {
    let mut followed = 0;
    for page in pages() {
        for link in page.links() {
            if ["http://", "https://", "mailto:"]
                .iter()
                .any(|scheme| link.starts_with(scheme))
            {
                continue;
            }
            if let Err(why) = follow(&page, &link) {
                panic!("{}: {link}: {why}", page.path.display());
            }
            followed += 1;
        }
    }
    assert!(followed >= 150, "{followed} links");
}

fn follow(from: &Page, link: &str) -> Result<(), &'static str> {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => from.path.clone(),
        file => beside(&from.path, file).ok_or("it leaves the tree")?,
    };
    if !root().join(&target).exists() {
        return Err("there is no such file");
    }
    match anchor.is_empty() || page(&target).anchors().contains(anchor) {
        true => Ok(()),
        false => Err("there is no such heading"),
    }
}

/// The path of a file that a document names, from the top of the tree.
fn beside(page: &Path, file: &str) -> Option<PathBuf> {
    let mut path = page.parent()?.to_owned();
    for part in Path::new(file).components() {
        match part {
            Component::ParentDir => path.pop().then_some(())?,
            part => path.push(part),
        }
    }
    Some(path)
}

/// The two say the same: as many headings of each kind, the same code but for its comments, the same links.
#[test]
fn the_chinese_readme_has_the_form_of_the_english_one() {
    let (english, chinese) = (page("README.md"), page("README.zh-CN.md"));
    let levels = |page: &Page| -> Vec<usize> {
        let headings = page.headings().into_iter();
        headings
            .map(|line| line.split(' ').next().unwrap_or_default().len())
            .collect()
    };
    assert_eq!(levels(&english), levels(&chinese));
    let code = |page: &Page| -> Vec<(String, String)> {
        let blocks = page.blocks().into_iter();
        let spoken = blocks.filter(|block| !block.language.is_empty());
        spoken
            .map(|block| (block.language, without_comments(&block.text)))
            .collect()
    };
    assert_eq!(code(&english), code(&chinese));
    let links = |page: &Page| -> Vec<String> {
        let mut links = page.links();
        links.retain(|link| !link.starts_with("README"));
        links.sort();
        links
    };
    assert_eq!(links(&english), links(&chinese));
    let rows = |page: &Page| {
        page.text
            .lines()
            .filter(|line| line.starts_with("| "))
            .count()
    };
    assert_eq!(rows(&english), rows(&chinese), "rows of tables");
    assert!(english.links().contains(&"README.zh-CN.md".to_owned()));
    assert!(chinese.links().contains(&"README.md".to_owned()));
}

fn without_comments(code: &str) -> String {
    let lines = code.lines().map(|line| match line.split_once('#') {
        Some((before, _)) => before.trim_end(),
        None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}
