//! The lines for Codex, alone and merged into files of every shape.

use std::fs;

use super::*;

fn plain() -> Snippet {
    Snippet {
        base_url: "http://127.0.0.1:8787/v1/".to_owned(),
        model: Some("qwen3:32b".to_owned()),
        key: Key::default(),
    }
}

const TOP: &str = "model = \"qwen3:32b\"\nmodel_provider = \"antiphon\"\n";

const TABLE: &str = r#"[model_providers.antiphon]
name = "Antiphon"
base_url = "http://127.0.0.1:8787/v1"
wire_api = "responses"
experimental_bearer_token = "local"
model_catalog_url = "http://127.0.0.1:8787/v1/models"
stream_idle_timeout_ms = 300000
"#;

/// Merges, checks that a second merge changes nothing, and returns the text.
fn merged(existing: &str) -> String {
    let once = merge(existing, &plain()).unwrap();
    assert_eq!(merge(&once, &plain()).unwrap(), once);
    once
}

/// Merges and returns the text with what it means to a reader of TOML.
fn provider(existing: &str) -> (String, toml::Table) {
    let text = merged(existing);
    let root: toml::Table = text.parse().unwrap();
    assert_eq!(root["model_provider"].as_str(), Some("antiphon"));
    let provider = root["model_providers"]["antiphon"]
        .as_table()
        .unwrap()
        .clone();
    assert_eq!(
        provider["base_url"].as_str(),
        Some("http://127.0.0.1:8787/v1")
    );
    assert_eq!(provider["wire_api"].as_str(), Some("responses"));
    (text, provider)
}

#[test]
fn the_snippet_is_what_the_documents_say() {
    assert_eq!(snippet(&plain()), format!("{TOP}\n{TABLE}"));
}

#[test]
fn without_a_model_codex_keeps_its_own() {
    let s = Snippet {
        model: None,
        ..plain()
    };
    assert!(snippet(&s).starts_with("model_provider = \"antiphon\"\n\n["));
    let kept = merge("model = \"mine\"\n", &s).unwrap();
    assert!(kept.starts_with("model = \"mine\"\nmodel_provider = \"antiphon\"\n\n["));
}

#[test]
fn an_empty_file_becomes_the_snippet() {
    assert_eq!(merged(""), snippet(&plain()));
}

#[test]
fn text_that_would_break_out_of_its_quotes_is_escaped() {
    let s = Snippet {
        model: Some("a\"\nb".to_owned()),
        ..plain()
    };
    let root: toml::Table = snippet(&s).parse().unwrap();
    assert_eq!(root["model"].as_str(), Some("a\"\nb"));
}

#[test]
fn comments_order_and_odd_spacing_stay() {
    let existing = "# mine\nmodel='old'   # why\n\ntui.theme = 'x'\nother=1\ntui.y  =  2\n\n\
                    [b]  # b\nz = [ 1,\n  2 ]\n\n[a]\n[b.c]\nk = 1\n# the end";
    let expected = format!(
        "# mine\nmodel=\"qwen3:32b\"   # why\n\ntui.theme = 'x'\nother=1\ntui.y  =  2\n\
         model_provider = \"antiphon\"\n\n\
         [b]  # b\nz = [ 1,\n  2 ]\n\n[a]\n[b.c]\nk = 1\n# the end\n\n{TABLE}"
    );
    assert_eq!(merged(existing), expected);
}

#[test]
fn top_level_keys_go_before_the_first_table() {
    assert_eq!(
        merged("# hi\n[a]\nb = 1\n"),
        format!("{TOP}\n# hi\n[a]\nb = 1\n\n{TABLE}")
    );
}

#[test]
fn a_last_line_without_an_end_gets_one() {
    assert_eq!(merged("a = 1"), format!("a = 1\n{TOP}\n{TABLE}"));
}

#[test]
fn windows_line_ends_and_byte_order_mark_stay() {
    let text = merged("\u{feff}[a]\r\nb = 1\r\n");
    assert!(
        text.starts_with("\u{feff}model = \"qwen3:32b\"\r\nmodel_provider"),
        "{text:?}"
    );
    assert!(text.contains("\r\n\r\n[a]\r\nb = 1\r\n\r\n[model_providers.antiphon]\r\n"));
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
}

#[test]
fn other_providers_stay() {
    let existing = "model_provider = \"x\"\n[model_providers.x]\nbase_url = \"u\"\n[z]\n";
    let (text, _) = provider(existing);
    let rest = "[model_providers.x]\nbase_url = \"u\"\n[z]\n\n";
    assert_eq!(
        text,
        format!("model_provider = \"antiphon\"\nmodel = \"qwen3:32b\"\n{rest}{TABLE}")
    );
}

#[test]
fn an_old_table_is_brought_up_to_date_where_it_stands() {
    let (text, provider) = provider(
        "[model_providers.antiphon]\nname = \"Home\"\nbase_url = 'http://old/v1' # there\n\
         stream_idle_timeout_ms = 900000\nextra = true\n\n[z]\ny = 1\n",
    );
    assert!(text.contains("\nbase_url = \"http://127.0.0.1:8787/v1\" # there\n"));
    assert!(text.contains("extra = true\nwire_api = \"responses\"\nexperimental_bearer_token"));
    assert!(text.ends_with("/models\"\n\n[z]\ny = 1\n"));
    assert_eq!(
        provider["name"].as_str(),
        Some("Home"),
        "what the user tuned stays"
    );
    assert_eq!(
        provider["stream_idle_timeout_ms"].as_integer(),
        Some(900_000)
    );
}

#[test]
fn an_empty_table_is_filled() {
    let (text, _) = provider("[model_providers.antiphon]\n[z]\n");
    assert_eq!(text, format!("{TOP}\n{TABLE}[z]\n"));
}

#[test]
fn a_table_that_only_its_children_name_gets_its_header() {
    let (text, provider) = provider("[model_providers.antiphon.http_headers]\na = \"b\"\n");
    assert!(text.ends_with(&format!("a = \"b\"\n\n{TABLE}")));
    assert_eq!(provider["http_headers"]["a"].as_str(), Some("b"));
}

#[test]
fn inline_tables_and_dotted_keys_are_added_to() {
    for existing in [
        "model_providers = {}\n",
        "model_providers = { x = { base_url = \"u\" } }\n",
        "model_providers = { antiphon = { base_url = \"old\" }, x = {} }\n",
        "model_providers = { antiphon = { base_url = \"old\", }, } # kept\n",
        "model_providers = { antiphon.base_url = \"old\" }\n",
        "model_providers.x.base_url = \"u\"\n[z]\n",
        "model_providers.antiphon.base_url = \"old\"\nlater = 1\n[z]\n",
        "model_providers.antiphon = { wire_api = \"chat\" }\n",
        "[model_providers]\nantiphon.base_url = \"old\"\n[z]\n",
        "[model_providers]\nantiphon = {base_url=\"old\"}\n[z]\n",
        "[model_providers]\n[model_providers.x]\nbase_url = \"u\"\n",
        "[model_providers]\nx.base_url = \"u\"",
        "\"model_providers\".'antiphon'.base_url = \"old\"\n",
    ] {
        let (text, provider) = provider(existing);
        assert_eq!(provider.len(), 6, "{existing} became {text}");
        assert!(!text.contains("old"), "{text}");
        let others = |text: &str| ["x", "z", "# kept", "later = 1"].map(|word| text.contains(word));
        for (before, after) in others(existing).into_iter().zip(others(&text)) {
            assert!(!before || after, "{existing} became {text}");
        }
    }
}

#[test]
fn one_way_of_giving_the_key_takes_the_place_of_the_other() {
    let s = Snippet {
        key: Key::Variable("MY_KEY".to_owned()),
        ..plain()
    };
    let text = merge(&merged(""), &s).unwrap();
    assert!(text.contains("\nenv_key = \"MY_KEY\"\n"));
    assert!(!text.contains("experimental_bearer_token"));
    assert_eq!(merge(&text, &plain()).unwrap(), merged(""));
    let inline = "model_providers={antiphon={env_key='K',name='n'}}";
    assert!(merged(inline).contains("{experimental_bearer_token = \"local\",name='n', base_url"));
}

#[test]
fn what_leaves_no_place_is_refused() {
    let error = |text: &str| merge(text, &plain()).unwrap_err().to_string();
    assert_eq!(
        error("a = 1\nb = \n"),
        "line 2 is not TOML (string values must be quoted, expected literal string); nothing was changed"
    );
    assert_eq!(
        error("model_providers = 1"),
        "`model_providers` is not a table there, which leaves no place for Antiphon; nothing was \
         changed"
    );
    assert!(error("[[model_providers]]").contains("is an array of tables there"));
    assert!(error("[model_providers]\nantiphon = 1").contains("`model_providers.antiphon` is not"));
    assert!(error("[model]\na = 1").contains("`model` is a table there"));
}

#[test]
fn the_path_follows_codex() {
    let pairs = |pairs: &[(&str, &str)]| {
        config_path(
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect::<Vec<_>>(),
        )
    };
    let both = pairs(&[("HOME", "/home/me"), ("CODEX_HOME", "/c")]);
    assert_eq!(both, Some(PathBuf::from("/c/config.toml")));
    let empty = pairs(&[("CODEX_HOME", ""), ("HOME", "/home/me")]);
    assert_eq!(empty, Some(PathBuf::from("/home/me/.codex/config.toml")));
    assert_eq!(pairs(&[]), None);
}

#[test]
fn a_new_file_is_made_with_its_folder() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("a").join("config.toml");
    let written = write(&path, &plain(), 7).unwrap();
    assert_eq!(
        written,
        Written {
            path: path.clone(),
            change: Change::Created,
            backup: None
        }
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), snippet(&plain()));
    let again = write(&path, &plain(), 8).unwrap();
    assert_eq!((again.change, again.backup), (Change::Unchanged, None));
    assert_eq!(
        fs::read_dir(path.parent().unwrap()).unwrap().count(),
        1,
        "nothing is left over"
    );
}

#[test]
fn an_old_file_is_kept_beside_the_new_one() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config.toml");
    fs::write(&path, "a = 1\n").unwrap();
    let taken = home.path().join("config.toml.antiphon-7.bak");
    fs::write(&taken, "earlier").unwrap();
    let written = write(&path, &plain(), 7).unwrap();
    let backup = home.path().join("config.toml.antiphon-8.bak");
    assert_eq!(
        (written.change, written.backup.as_ref()),
        (Change::Updated, Some(&backup))
    );
    assert_eq!(fs::read_to_string(&backup).unwrap(), "a = 1\n");
    assert_eq!(fs::read_to_string(&taken).unwrap(), "earlier");
    assert!(
        fs::read_to_string(&path)
            .unwrap()
            .starts_with("a = 1\nmodel = ")
    );
}

#[test]
fn a_file_that_is_not_toml_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config.toml");
    fs::write(&path, "not toml").unwrap();
    let error = write(&path, &plain(), 7).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("{}: line 1 is not TOML", path.display())),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "not toml");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn permissions_and_links_stay() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("dotfiles.toml");
    let path = home.path().join("config.toml");
    fs::write(&target, "a = 1\n").unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&target, &path).unwrap();
    write(&path, &plain(), 7).unwrap();
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert!(fs::read_to_string(&target).unwrap().contains("antiphon"));
    assert_eq!(
        fs::metadata(&target).unwrap().permissions().mode() & 0o777,
        0o640
    );

    let new = home.path().join("new").join("config.toml");
    write(&new, &plain(), 7).unwrap();
    assert_eq!(
        fs::metadata(&new).unwrap().permissions().mode() & 0o777,
        0o600
    );
}
