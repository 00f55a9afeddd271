//! The parts of the core, each alone: `cargo bench --bench parts`. Times, bytes and allocations.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

use antiphon::profile::Profile;
use antiphon::responses::event::At;
use antiphon::responses::response::{Echo, Head};
use antiphon::responses::{CreateResponse, ResponseEvent};
use antiphon::sse::Decoder;
use antiphon::translate::{
    self, Bytes, Ignore, Limits, LoweringOptions, Pipeline, Seal, Sink, Thinking, ToolMap,
    TurnContext,
};
use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher, black_box};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const DELTAS: usize = 256;

fn main() {
    divan::main();
}

struct NoSeal;

impl Seal for NoSeal {
    fn seal(&self, _: &[u8]) -> String {
        String::new()
    }

    fn open(&self, _: &str) -> Option<Vec<u8>> {
        None
    }
}

fn chunk(delta: &str, created: usize) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":{created},\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
    )
}

/// Chunks of a stream that are alike, as most servers send them, or of which each has another time.
fn stream(kind: &str) -> Vec<String> {
    (0..DELTAS)
        .map(|n| match (kind, n) {
            ("call", 0) => chunk(
                r#"{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{\"a\":\""}}]}"#,
                0,
            ),
            ("call", _) => chunk(r#"{"tool_calls":[{"index":0,"function":{"arguments":"abc "}}]}"#, 0),
            ("unlike", n) => chunk(r#"{"content":" word"}"#, n),
            _ => chunk(r#"{"content":" word"}"#, 0),
        })
        .collect()
}

fn size(pieces: &[String]) -> BytesCount {
    BytesCount::new(pieces.iter().map(String::len).sum::<usize>())
}

fn start(sink: &mut dyn Sink) -> Pipeline {
    let head = Head {
        id: "resp_0123456789abcdef0123456789abcdef".into(),
        created_at: 1,
        model: "m".into(),
        echo: Echo::new(&CreateResponse::default()),
    };
    let context = TurnContext::new(head, ToolMap::default(), Thinking::Content);
    let limits = Limits {
        event_bytes: 1 << 20,
        answer_bytes: 1 << 24,
    };
    Pipeline::start(context, &Profile::default(), false, limits, sink)
}

/// Bytes to the data of events.
#[divan::bench]
fn decoder(bencher: Bencher<'_, '_>) {
    let pieces = stream("text");
    bencher
        .counter(size(&pieces))
        .counter(ItemsCount::new(DELTAS))
        .bench(|| {
            let mut decoder = Decoder::new(1 << 20);
            for piece in &pieces {
                decoder
                    .push(piece.as_bytes(), |data| {
                        black_box(data);
                    })
                    .unwrap();
            }
        });
}

/// Bytes to events, which nobody writes.
#[divan::bench(args = ["text", "unlike", "call"])]
fn machine(bencher: Bencher<'_, '_>, kind: &str) {
    let pieces = stream(kind);
    bencher
        .counter(size(&pieces))
        .counter(ItemsCount::new(DELTAS))
        .bench(|| {
            let mut pipeline = start(&mut Ignore);
            for piece in &pieces {
                pipeline.push(piece.as_bytes(), &mut Ignore);
            }
            pipeline.finish(None, 1, 0, &mut Ignore)
        });
}

/// Bytes to bytes, with a write for each read.
#[divan::bench(args = ["text", "unlike", "call"])]
fn whole_way(bencher: Bencher<'_, '_>, kind: &str) {
    let pieces = stream(kind);
    bencher
        .counter(size(&pieces))
        .counter(ItemsCount::new(DELTAS))
        .bench(|| {
            let mut sink = Bytes::default();
            let mut pipeline = start(&mut sink);
            for piece in &pieces {
                pipeline.push(piece.as_bytes(), &mut sink);
                black_box(sink.take());
            }
            pipeline.finish(None, 1, 0, &mut sink)
        });
}

/// Events to bytes.
#[divan::bench]
fn encoder(bencher: Bencher<'_, '_>) {
    let event = ResponseEvent::OutputTextDelta {
        at: At {
            item_id: "msg_0123456789abcdef0123456789abcdef0000",
            output_index: 0,
        },
        content_index: 0,
        delta: " a \"word\"\n",
        logprobs: &[],
    };
    bencher.counter(ItemsCount::new(DELTAS)).bench(|| {
        let mut sink = Bytes::default();
        for n in 0..DELTAS as u64 {
            sink.event(n, black_box(&event));
        }
        sink.out
    });
}

/// A request of so many bytes, read, echoed, lowered and written.
#[divan::bench(args = [2_000, 300_000, 3_000_000])]
fn request(bencher: Bencher<'_, '_>, bytes: usize) {
    let output = r#"fn main() {\n    println!(\"a line as code has them\");\n    let number = 12345 + 67890;\n}\n"#.repeat(20);
    let pair = format!(
        r#"{{"type":"function_call","call_id":"call_N","name":"f","arguments":"{{\"a\":1}}"}},{{"type":"function_call_output","call_id":"call_N","output":"{output}"}},"#
    );
    let pairs: String = (0..bytes / pair.len())
        .map(|n| pair.replace("call_N", &format!("call_{n}")))
        .collect();
    let body = format!(
        r#"{{"model":"m","tools":[{{"type":"function","name":"f","parameters":{{"type":"object","properties":{{}}}}}}],"input":[{pairs}{{"role":"user","content":"Go on."}}]}}"#
    );
    let profile = Profile::default();
    bencher.counter(BytesCount::of_str(&body)).bench(|| {
        let request = CreateResponse::parse(body.as_bytes()).unwrap();
        let echo = Echo::new(&request);
        let options = LoweringOptions {
            profile: &profile,
            model: "m",
            effort: None,
            seal: &NoSeal,
        };
        let lowered = translate::lower(request, &options).unwrap();
        (lowered.chat.into_json(), echo)
    });
}
