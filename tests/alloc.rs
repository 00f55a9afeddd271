//! A guard that counts instead of timing: how often, and how much, is allocated for a delta and for
//! a byte of a request. Unlike a time it is the same on each machine, so it can fail a change.
//!
//! (Counts of instructions would say more. They need valgrind or access to the CPU's counters, which
//! a checkout that is only built with cargo has not.)

use std::alloc::System;
use std::fmt::Write;

use antiphon::profile::Profile;
use antiphon::responses::CreateResponse;
use antiphon::responses::response::{Echo, Head};
use antiphon::translate::{
    self, Bytes, Limits, LoweringOptions, Pipeline, Seal, Thinking, ToolMap, TurnContext,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

struct NoSeal;

impl Seal for NoSeal {
    fn seal(&self, _: &[u8]) -> String {
        String::new()
    }

    fn open(&self, _: &str) -> Option<Vec<u8>> {
        None
    }
}

/// What `work` allocates: times, and bytes. What grows in place counts as new.
fn allocated(work: impl FnOnce()) -> (f64, f64) {
    let region = Region::new(COUNTED);
    work();
    let Stats {
        allocations,
        reallocations,
        bytes_allocated,
        ..
    } = region.change();
    ((allocations + reallocations) as f64, bytes_allocated as f64)
}

/// A stream of so many deltas, each as one read, translated as the server does it.
fn translate_stream(deltas: usize, delta: impl Fn(usize) -> String) -> (f64, f64) {
    let chunk = |delta: &str| {
        format!(
            r#"data: {{"id":"chatcmpl-0123456789","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":null}}]}}"#
        ) + "\n\n"
    };
    let mut reads = vec![chunk(r#"{"role":"assistant","content":""}"#)];
    reads.extend((0..deltas).map(|n| chunk(&delta(n))));
    reads.push("data: [DONE]\n\n".into());
    let limits = Limits {
        event_bytes: 1 << 20,
        answer_bytes: 1 << 24,
    };
    let head = Head {
        id: "resp_0123456789abcdef0123456789abcdef".into(),
        created_at: 1,
        model: "m".into(),
        echo: Echo::new(&CreateResponse::default()),
    };
    let context = TurnContext::new(head, ToolMap::default(), Thinking::Content);
    allocated(|| {
        let mut sink = Bytes::default();
        let mut pipeline = Pipeline::start(context, &Profile::default(), false, limits, &mut sink);
        let mut written = 0;
        for read in &reads {
            pipeline.push(read.as_bytes(), &mut sink);
            written += sink.take().len();
        }
        pipeline.finish(None, 1, 0, &mut sink);
        assert!(written > deltas * 100, "there is an event for each delta");
    })
}

/// What one more delta costs, fixed costs apart.
fn each(delta: impl Fn(usize) -> String) -> (f64, f64) {
    const FEW: usize = 256;
    const MANY: usize = 2304;
    let (few, many) = (
        translate_stream(FEW, &delta),
        translate_stream(MANY, &delta),
    );
    let more = (MANY - FEW) as f64;
    ((many.0 - few.0) / more, (many.1 - few.1) / more)
}

/// A request like a coding agent's: many calls and their outputs, and tools.
fn request(bytes: usize) -> String {
    let (mut items, mut tools) = (String::new(), String::new());
    let mut n = 0;
    while items.len() + tools.len() < bytes {
        let code = r#"fn main() {\n    println!(\"a line as code has them\");\n    let number = 12345 + 67890;\n}\n"#.repeat(20);
        let _ = write!(
            items,
            r#"{{"type":"function_call","call_id":"call_{n}","name":"tool_{}","arguments":"{{\"path\":\"a_{n}.rs\"}}"}},{{"type":"function_call_output","call_id":"call_{n}","output":"{code}"}},"#,
            n % 20
        );
        if n < 20 {
            let about = "Reads what there is. ".repeat(20);
            let _ = write!(
                tools,
                r#"{{"type":"function","name":"tool_{n}","description":"{about}","parameters":{{"type":"object","properties":{{"path":{{"type":["string","null"]}}}}}}}},"#
            );
        }
        n += 1;
    }
    let tools = tools.trim_end_matches(',');
    format!(
        r#"{{"model":"m","stream":true,"tools":[{tools}],"input":[{items}{{"role":"user","content":"Go on."}}]}}"#
    )
}

/// What a byte of a request costs.
fn each_byte(bytes: usize) -> f64 {
    let body = request(bytes);
    let profile = Profile::default();
    let (_, allocated) = allocated(|| {
        let parsed = CreateResponse::parse(body.as_bytes()).expect("it is a request");
        let echo = Echo::new(&parsed);
        let options = LoweringOptions {
            profile: &profile,
            model: "m",
            effort: None,
            seal: &NoSeal,
        };
        let lowered = translate::lower(parsed, &options).expect("it lowers");
        assert!(lowered.chat.into_json().len() > bytes / 2);
        drop(echo);
    });
    allocated / body.len() as f64
}

/// One test, as the counts are the whole process's.
#[test]
fn allocations_keep_to_their_budget() {
    let text = each(|n| format!(r#"{{"content":" word{}"}}"#, n % 10));
    let thought = each(|n| format!(r#"{{"reasoning_content":" word{}"}}"#, n % 10));
    let call = each(|n| {
        match n {
        0 => r#"{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{\"a\":\""}}]}"#.into(),
        _ => r#"{"tool_calls":[{"index":0,"function":{"arguments":"abc "}}]}"#.into(),
    }
    });
    // A chunk that differs from the last one elsewhere is parsed whole.
    let unlike = each(|n| format!(r#"{{"content":" word","x":{n}}}"#));
    for (name, (times, bytes), most_times, most_bytes) in [
        ("text", text, 2.05, 640.0),
        ("thought", thought, 2.05, 640.0),
        ("call", call, 2.05, 640.0),
        ("unlike", unlike, 2.05, 640.0),
    ] {
        assert!(
            times <= most_times,
            "{name}: {times:.2} allocations for each delta"
        );
        assert!(
            bytes <= most_bytes,
            "{name}: {bytes:.0} bytes for each delta"
        );
    }
    for bytes in [300_000, 3_000_000] {
        let each = each_byte(bytes);
        assert!(
            each <= 3.5,
            "{each:.2} bytes allocated for each of a request of {bytes}"
        );
    }
}
