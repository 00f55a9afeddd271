use super::*;

fn auto(host: &str, port: u16) -> String {
    resolve("auto", host, Some(port), &toml::Table::new())
        .unwrap()
        .0
}

#[test]
fn every_built_in_profile_reads() {
    for name in names() {
        resolve(&name, "x", None, &toml::Table::new()).unwrap();
    }
}

#[test]
fn an_upstream_is_known_by_its_host_or_its_port() {
    assert_eq!(auto("api.deepseek.com", 443), "deepseek");
    assert_eq!(auto("me.openai.azure.com", 443), "azure");
    assert_eq!(auto("notapi.deepseek.com.example", 443), "generic");
    assert_eq!(auto("127.0.0.1", 11434), "ollama");
    assert_eq!(auto("127.0.0.1", 9100), "generic");
}

#[test]
fn the_users_keys_lie_on_top() {
    let own = "reasoning_back = \"drop\"".parse().unwrap();
    let (_, profile) = resolve("ollama", "x", None, &own).unwrap();
    assert_eq!(profile.reasoning_back, ReasoningBack::Drop);
}

#[test]
fn wrong_names_keys_and_values_are_refused() {
    let unknown = resolve("olama", "x", None, &toml::Table::new());
    assert!(matches!(unknown, Err(ProfileError::Unknown { .. })));
    for own in ["no_such_key = 1", "effort = \"loud\""] {
        assert!(
            resolve("generic", "x", None, &own.parse().unwrap()).is_err(),
            "{own}"
        );
    }
}
