//! Tools of every kind that Codex has: their calls arrive, and their results come back.

use serde_json::{Value, json};

use super::{
    DOT, do_call, do_calls, do_freeform, ended_with, last_request, made, messages, names, pictures,
    results, say, words,
};
use crate::support::proxy::Proxy;
use crate::support::real::{Codex, plain_python, script};
use crate::support::upstream::Upstream;

const ADDING: &str =
    "*** Begin Patch\n*** Add File: n.txt\n+one\n+two \"quoted\" é\n+\ttab\n*** End Patch\n";
const CHANGING: &str = "*** Begin Patch\n*** Update File: n.txt\n@@\n one\n-two \"quoted\" é\n+zwei „quoted“ \\ 'é' 🦙\n \ttab\n*** End Patch\n";

#[test]
fn patches_add_a_file_and_change_it() {
    let (upstream, proxy) = patching(|upstream| Proxy::to(&upstream.base_url()));
    let Some(codex) = Codex::new(&proxy.base_url()) else {
        return;
    };
    patches_are_applied(&codex.model("gpt-5.5"), &upstream, &proxy);
}

#[test]
fn a_model_from_the_proxys_own_catalog_is_given_patches() {
    let (upstream, proxy) = patching(|upstream| {
        let config = format!(
            "[upstreams.mock]\nbase_url = \"{}\"\n[models.\"local-coder\"]\ncontext_window = 65536\n",
            upstream.base_url()
        );
        Proxy::builder().config(&config).start()
    });
    let Some(codex) = Codex::new(&proxy.base_url()) else {
        return;
    };
    let catalog = format!("model_catalog_url = \"{}/models\"", proxy.base_url());
    let codex = codex.model("local-coder").provider(&catalog);
    patches_are_applied(&codex, &upstream, &proxy);
}

fn patching(start: impl Fn(&Upstream) -> Proxy) -> (Upstream, Proxy) {
    let upstream = Upstream::by(|request| match results(request).len() {
        0 => do_freeform(request, "apply_patch", ADDING),
        1 => do_freeform(request, "apply_patch", CHANGING),
        _ => say("Patched twice."),
    });
    let proxy = start(&upstream);
    (upstream, proxy)
}

fn patches_are_applied(codex: &Codex, upstream: &Upstream, proxy: &Proxy) {
    let run = codex.run("Add a file, then change it.");

    ended_with(&run, "Patched twice.", proxy);
    assert_eq!(
        made(&run, "n.txt").as_deref(),
        Some("one\nzwei „quoted“ \\ 'é' 🦙\n\ttab\n")
    );
    // Codex knows the model: else it says that it has to do without its metadata.
    assert_eq!(run.items("error"), Vec::<&Value>::new());
    let last = last_request(upstream);
    let calls = messages(&last)
        .iter()
        .filter_map(|message| message["tool_calls"][0]["function"]["arguments"].as_str());
    let patches: Vec<Value> = calls
        .map(|arguments| serde_json::from_str(arguments).expect("arguments are JSON"))
        .collect();
    let patches: Vec<&Value> = patches
        .iter()
        .filter_map(|patch| patch.as_object()?.values().next())
        .collect();
    assert_eq!(patches, [ADDING, CHANGING]);
    for result in results(&last) {
        assert!(words(result).contains("Success"), "{result}");
    }
}

#[test]
fn a_command_runs_and_its_output_comes_back() {
    let upstream = Upstream::by(|request| match results(request).len() {
        0 => do_call(
            request,
            "exec_command",
            &json!({"cmd": "echo \"it's é\" | tee made.txt"}),
        ),
        _ => say("Done."),
    });
    let proxy = Proxy::to(&upstream.base_url());
    let Some(codex) = Codex::new(&proxy.base_url()) else {
        return;
    };
    let run = codex.run("Make a file.");

    ended_with(&run, "Done.", &proxy);
    assert_eq!(made(&run, "made.txt").as_deref(), Some("it's é\n"));
    assert_eq!(upstream.asked().len(), 2);
    let last = last_request(&upstream);
    let result = results(&last)[0];
    assert_eq!(result["tool_call_id"], "call_0_0");
    assert!(words(result).contains("it's é"), "{result}");
}

#[test]
fn calls_in_parallel_follow_their_text() {
    let upstream = Upstream::by(|request| match results(request).len() {
        0 => {
            let command = |cmd: &str| ("exec_command", json!({ "cmd": cmd }));
            let calls = [command("echo 1 > a"), command("echo 2 > b")];
            do_calls(request, "Two things at once.", &calls)
        }
        _ => say("Done."),
    });
    let proxy = Proxy::to(&upstream.base_url());
    let Some(codex) = Codex::new(&proxy.base_url()) else {
        return;
    };
    let run = codex.run("Make two files.");

    ended_with(&run, "Done.", &proxy);
    assert_eq!(made(&run, "a").as_deref(), Some("1\n"));
    assert_eq!(made(&run, "b").as_deref(), Some("2\n"));
    let last = last_request(&upstream);
    let [.., said, first, second] = messages(&last) else {
        panic!("too few messages: {last}");
    };
    assert_eq!(words(said), "Two things at once.", "{:?}", messages(&last));
    let calls = said["tool_calls"].as_array().expect("calls");
    let asked: Vec<&Value> = calls.iter().map(|call| &call["id"]).collect();
    let answered = [first, second].map(|result| &result["tool_call_id"]);
    assert_eq!(asked, ["call_0_0", "call_0_1"]);
    assert_eq!(asked, answered);
}

#[test]
fn a_tool_of_an_mcp_server_is_called() {
    let upstream = Upstream::by(|request| match results(request).len() {
        0 => do_call(request, "add", &json!({"a": 20, "b": 22})),
        _ => say("42 it is."),
    });
    let proxy = Proxy::to(&upstream.base_url());
    let Some(codex) = with_mcp_server(&proxy) else {
        return;
    };
    let run = codex.run("Add 20 and 22.");

    ended_with(&run, "42 it is.", &proxy);
    assert_eq!(
        made(&run, "mcp-calls.jsonl").as_deref(),
        Some("[\"add\", {\"a\": 20, \"b\": 22}]\n")
    );
    let last = last_request(&upstream);
    assert!(words(results(&last)[0]).contains("42"), "{last}");
    // What went out under the proxy's name comes back under the same.
    let called = messages(&last)
        .iter()
        .find_map(|message| message["tool_calls"][0]["function"]["name"].as_str());
    assert_eq!(called, Some("mcp__calc__add"));
}

#[test]
fn a_picture_from_a_tool_is_shown_to_the_model() {
    let upstream = Upstream::by(|request| match results(request).len() {
        0 => do_call(request, "draw", &json!({})),
        _ => say("A dot."),
    });
    let proxy = Proxy::to(&upstream.base_url());
    let Some(codex) = with_mcp_server(&proxy) else {
        return;
    };
    let run = codex.run("Draw something and look at it.");

    ended_with(&run, "A dot.", &proxy);
    let last = last_request(&upstream);
    let [.., result, shown] = messages(&last) else {
        panic!("too few messages: {last}");
    };
    assert_eq!(result["role"], "tool");
    assert!(words(result).contains("Here it is:"), "{result}");
    assert_eq!(shown["role"], "user");
    assert_eq!(pictures(shown), [format!("data:image/png;base64,{DOT}")]);
}

#[test]
fn a_tool_is_searched_and_then_called() {
    let upstream = Upstream::by(|request| match results(request).len() {
        0 => do_call(
            request,
            "tool_search",
            &json!({"query": "adds two numbers", "limit": 5}),
        ),
        1 => do_call(request, "add", &json!({"a": 2, "b": 3})),
        _ => say("Five."),
    });
    let proxy = Proxy::to(&upstream.base_url());
    let Some(codex) = with_mcp_server(&proxy) else {
        return;
    };
    let run = codex.model("gpt-5.5").run("Add 2 and 3.");

    ended_with(&run, "Five.", &proxy);
    assert_eq!(
        made(&run, "mcp-calls.jsonl").as_deref(),
        Some("[\"add\", {\"a\": 2, \"b\": 3}]\n")
    );
    let asked = upstream.asked();
    let offers = |request| names(request).any(|name| name == "mcp__calc__add");
    assert!(!offers(&asked[0]), "{}", asked[0]["tools"]);
    assert!(offers(&asked[1]), "{}", asked[1]["tools"]);
    assert!(offers(&asked[2]), "{}", asked[2]["tools"]);
    let results = results(&asked[2]);
    assert!(words(results[0]).contains("mcp__calc"), "{}", results[0]);
    assert!(words(results[1]).contains('5'), "{}", results[1]);
}

#[test]
fn a_model_whose_tools_come_as_an_item_runs_a_script() {
    let program = "const r = await tools.exec_command({cmd: \"echo 'é' > lite.txt; echo seen\"});\ntext(r.output);";
    let upstream = Upstream::by(move |request| match results(request).len() {
        0 => do_freeform(request, "exec", program),
        _ => say("Done."),
    });
    let proxy = Proxy::to(&upstream.base_url());
    let Some(codex) = Codex::new(&proxy.base_url()) else {
        return;
    };
    let run = codex.model("gpt-6-astra").run("Make a file.");

    ended_with(&run, "Done.", &proxy);
    assert_eq!(made(&run, "lite.txt").as_deref(), Some("é\n"));
    let last = last_request(&upstream);
    assert!(words(results(&last)[0]).contains("seen"), "{last}");
}

/// Codex with the MCP server `calc`.
fn with_mcp_server(proxy: &Proxy) -> Option<Codex> {
    let python = plain_python()?;
    let server = script("mcp_server.py");
    let config = format!(
        "[mcp_servers.calc]\ncommand = {:?}\nargs = [{:?}]",
        python.display().to_string(),
        server.display().to_string()
    );
    Some(Codex::new(&proxy.base_url())?.config(&config))
}
