//! A proxy that is restarted while Codex is at work.

use std::thread;

use super::say;
use crate::support::proxy::Proxy;
use crate::support::real::Codex;
use crate::support::upstream::{Reply, Upstream, text};

#[test]
fn a_restart_in_the_middle_of_an_answer_is_survived() {
    let begun = Reply::chunks(&[text("Hal")]).silent();
    let upstream = Upstream::new([begun, say("All of it.")]);
    let proxy = Proxy::builder()
        .upstream(&upstream.base_url())
        .env("ANTIPHON__SERVER__DRAIN_TIMEOUT_MS", "300")
        .start();
    let Some(codex) = Codex::new(&proxy.base_url()) else {
        return;
    };
    let address = proxy.address().to_owned();
    thread::scope(|scope| {
        let running = scope.spawn(|| codex.run("Say it."));
        upstream.wait_until_asked(1);
        proxy.signal("TERM");
        proxy.wait_for_log("ended before all that ran had", 1);
        let again = Proxy::builder()
            .upstream(&upstream.base_url())
            .listen(&address)
            .start();
        let run = running.join().expect("Codex runs");
        assert_eq!(run.code, Some(0), "{:#?}\n{}", run.events, run.stderr);
        assert_eq!(run.last_message(), "All of it.", "{:#?}", run.events);
        let told = format!("{:?}", run.events);
        assert!(told.contains("could not finish this response"), "{told}");
        assert_eq!(upstream.asked().len(), 2);
        drop(again);
    });
}
