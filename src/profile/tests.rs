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
    for host in ["127.1.2.3", "[::1]", "localhost", "host.docker.internal"] {
        assert_eq!(auto(host, 8000), "vllm", "{host}");
    }
    for host in [
        "api.example.com",
        "192.168.0.2",
        "[::2]",
        "localhost.example",
    ] {
        assert_eq!(auto(host, 8000), "generic", "{host}");
    }
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
    for own in [
        "no_such_key = 1",
        "effort = \"loud\"",
        "heal = \"some\"",
        "heal = [\"hermis\"]",
        "heal = 1",
    ] {
        assert!(
            resolve("generic", "x", None, &own.parse().unwrap()).is_err(),
            "{own}"
        );
    }
}

#[test]
fn a_profile_in_full_reads_as_itself() {
    for name in names() {
        let (_, profile) = resolve(&name, "x", None, &toml::Table::new()).unwrap();
        assert_eq!(Profile::deserialize(profile.to_table()).unwrap(), profile);
    }
}

#[test]
fn a_built_in_profile_says_what_it_is_known_by() {
    let ollama = Profile::built_in("ollama").unwrap();
    assert_eq!((ollama.hosts.len(), ollama.ports), (0, vec![11434]));
    assert_eq!(ollama.differs["reasoning_back"].as_str(), Some("reasoning"));
    assert!(Profile::built_in("olama").is_err());
}

#[test]
fn healing_is_a_word_or_a_list_of_formats() {
    let heal = |own: &str| {
        let own = format!("heal = {own}").parse().unwrap();
        resolve("generic", "x", None, &own).unwrap().1.heal
    };
    assert_eq!(heal("\"auto\"").formats(), HealFormat::ALL);
    assert!(heal("\"off\"").formats().is_empty());
    for format in HealFormat::ALL {
        let name = format.marks().name;
        assert_eq!(heal(&format!("[\"{name}\"]")), Heal::Only(vec![format]));
    }
}
