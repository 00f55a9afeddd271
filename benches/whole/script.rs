//! What is asked and answered: the workloads, their requests, and the answers in both APIs.

use std::fmt::Write;
use std::time::Duration;

/// How many digits a time stamp has that a delta carries.
pub(crate) const STAMP: usize = 16;
const WORDS: [&str; 8] = [
    " the",
    " fox",
    "ing ",
    "\\n\\n- ",
    "tion",
    " \\\"a\\\"",
    "été",
    ".map(",
];

/// An answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Script {
    /// Its name as a model.
    pub(crate) model: &'static str,
    pub(crate) deltas: usize,
    /// Between two deltas.
    pub(crate) pause: Duration,
    /// A call's arguments instead of text.
    pub(crate) call: bool,
    /// Each delta is the time at which it was sent.
    pub(crate) stamped: bool,
}

/// What is measured.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) about: String,
    pub(crate) script: Script,
    /// How many at once.
    pub(crate) at_once: usize,
    /// How long new requests are made; zero for one request each.
    pub(crate) time: Duration,
    pub(crate) stream: bool,
    /// About how large the request is.
    pub(crate) request_bytes: usize,
}

const TEXT: Script = Script {
    model: "text",
    deltas: 256,
    pause: Duration::ZERO,
    call: false,
    stamped: false,
};

pub(crate) const SCRIPTS: [Script; 6] = [
    TEXT,
    Script {
        model: "paced",
        pause: Duration::from_millis(4),
        ..TEXT
    },
    Script {
        model: "call",
        deltas: 64,
        call: true,
        ..TEXT
    },
    Script {
        model: "stamps",
        deltas: 50,
        pause: Duration::from_millis(20),
        stamped: true,
        ..TEXT
    },
    Script {
        model: "short",
        deltas: 8,
        ..TEXT
    },
    Script {
        model: "slow",
        deltas: 12,
        pause: Duration::from_secs(1),
        stamped: true,
        ..TEXT
    },
];

pub(crate) fn workloads(streams: usize) -> Vec<Workload> {
    let [text, paced, call, stamps, short, slow] = SCRIPTS;
    let make = |name, about: &str, script, at_once, seconds| Workload {
        name,
        about: about.to_owned(),
        script,
        at_once,
        time: Duration::from_secs(seconds),
        stream: true,
        request_bytes: 0,
    };
    vec![
        make(
            "fast",
            "256 deltas as fast as possible, 64 at once",
            text,
            64,
            4,
        ),
        make("paced", "a delta each 4 ms, 24 at once", paced, 24, 4),
        make("call", "a call of 64 fragments, 16 at once", call, 16, 4),
        make("alone", "256 deltas, one at a time", text, 1, 3),
        make("latency", "a delta each 20 ms, 10 at once", stamps, 10, 4),
        Workload {
            request_bytes: 300_000,
            ..make(
                "request",
                "300 KB of items and tools, 8 at once",
                short,
                8,
                4,
            )
        },
        Workload {
            stream: false,
            ..make(
                "blocking",
                "the text of 256 deltas at once, 16 at once",
                text,
                16,
                3,
            )
        },
        make(
            "memory",
            &format!("{streams} slow streams at once"),
            slow,
            streams,
            0,
        ),
    ]
}

impl Workload {
    /// The body of a request, the same for all targets.
    pub(crate) fn request(&self) -> String {
        let mut items = String::new();
        let mut tools = String::new();
        let mut n = 0;
        while items.len() + tools.len() < self.request_bytes {
            let code = "fn main() {\\n    println!(\\\"hello\\\");\\n}\\n".repeat(48);
            let _ = write!(
                items,
                r#"{{"type":"function_call","call_id":"call_{n}","name":"tool_{}","arguments":"{{\"path\":\"src/a_{n}.rs\"}}"}},{{"type":"function_call_output","call_id":"call_{n}","output":"{code}"}},"#,
                n % 20
            );
            if n < 20 {
                let _ = write!(
                    tools,
                    r#"{{"type":"function","name":"tool_{n}","description":"{}","strict":false,"parameters":{{"type":"object","properties":{{"path":{{"type":"string","description":"A file."}},"limit":{{"type":["integer","null"]}}}},"required":["path"],"additionalProperties":false}}}},"#,
                    "Reads what there is. ".repeat(20)
                );
            }
            n += 1;
        }
        format!(
            r#"{{"model":"{}","stream":{},"store":false,"instructions":"You are a helpful assistant.","tools":[{}],"input":[{items}{{"type":"message","role":"user","content":[{{"type":"input_text","text":"Say something."}}]}}]}}"#,
            self.script.model,
            self.stream,
            tools.trim_end_matches(','),
        )
    }
}

impl Script {
    /// A delta, as the inside of a JSON string.
    fn piece(&self, n: usize) -> &'static str {
        match (self.stamped, self.call, n) {
            (true, ..) => "@@@@@@@@@@@@@@@@",
            (_, true, 0) => "{\\\"cmd\\\":\\\"",
            (_, true, n) if n + 1 == self.deltas => "\\\"}",
            (_, true, _) => "abc ",
            _ => WORDS.get(n * 7 % WORDS.len()).copied().unwrap_or_default(),
        }
    }

    fn all(&self) -> String {
        (0..self.deltas).map(|n| self.piece(n)).collect()
    }

    /// The stream of a chat server, event by event.
    pub(crate) fn chat(&self) -> Vec<String> {
        let chunk = |delta: &str, reason: &str| {
            format!(
                "data: {{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"{}\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{reason}}}]}}\n\n",
                self.model
            )
        };
        let mut events = vec![chunk(r#"{"role":"assistant","content":""}"#, "null")];
        events.extend((0..self.deltas).map(|n| {
            let text = self.piece(n);
            let delta = match (self.call, n) {
                (false, _) => format!(r#"{{"content":"{text}"}}"#),
                (true, 0) => format!(
                    r#"{{"tool_calls":[{{"index":0,"id":"call_1","type":"function","function":{{"name":"shell","arguments":"{text}"}}}}]}}"#
                ),
                (true, _) => format!(
                    r#"{{"tool_calls":[{{"index":0,"function":{{"arguments":"{text}"}}}}]}}"#
                ),
            };
            chunk(&delta, "null")
        }));
        let reason = if self.call {
            "\"tool_calls\""
        } else {
            "\"stop\""
        };
        events.push(chunk("{}", reason));
        events.push(format!(
            "data: {{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{USAGE}}}\n\n"
        ));
        events.push("data: [DONE]\n\n".into());
        events
    }

    /// The answer of a chat server in one piece.
    pub(crate) fn completion(&self) -> String {
        format!(
            r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"{}","choices":[{{"index":0,"message":{{"role":"assistant","content":"{}"}},"finish_reason":"stop"}}],"usage":{USAGE}}}"#,
            self.model,
            self.all()
        )
    }

    /// The same answer as a stream of Responses events.
    pub(crate) fn events(&self) -> Vec<String> {
        let mut events: Vec<String> = Vec::new();
        let mut push = |kind: &str, members: &str| {
            events.push(format!(
                "event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{}{members}}}\n\n",
                events.len()
            ));
        };
        let response =
            |status: &str, output: &str| format!(",\"response\":{}", self.response(status, output));
        push("response.created", &response("in_progress", ""));
        push("response.in_progress", &response("in_progress", ""));
        let (kind, key) = match self.call {
            true => ("response.function_call_arguments", "arguments"),
            false => ("response.output_text", "text"),
        };
        let place = r#","item_id":"item_0123456789abcdef","output_index":0,"content_index":0"#;
        push(
            "response.output_item.added",
            &format!(r#","output_index":0,"item":{}"#, self.item("")),
        );
        for n in 0..self.deltas {
            let delta = self.piece(n);
            push(
                &format!("{kind}.delta"),
                &format!(r#"{place},"delta":"{delta}","logprobs":[]"#),
            );
        }
        let all = self.all();
        push(
            &format!("{kind}.done"),
            &format!(r#"{place},"{key}":"{all}""#),
        );
        let item = self.item(&all);
        push(
            "response.output_item.done",
            &format!(r#","output_index":0,"item":{item}"#),
        );
        push("response.completed", &response("completed", &item));
        events
    }

    /// The same answer as a response object.
    pub(crate) fn whole(&self) -> String {
        self.response("completed", &self.item(&self.all()))
    }

    fn item(&self, text: &str) -> String {
        match self.call {
            true => format!(
                r#"{{"id":"item_0123456789abcdef","type":"function_call","status":"completed","call_id":"call_1","name":"shell","arguments":"{text}"}}"#
            ),
            false => format!(
                r#"{{"id":"item_0123456789abcdef","type":"message","role":"assistant","status":"completed","content":[{{"type":"output_text","text":"{text}","annotations":[]}}]}}"#
            ),
        }
    }

    fn response(&self, status: &str, output: &str) -> String {
        format!(
            r#"{{"id":"resp_1","object":"response","created_at":1700000000,"status":"{status}","model":"{}","output":[{output}],"error":null,"instructions":null,"tools":[],"usage":null}}"#,
            self.model
        )
    }
}

const USAGE: &str = r#"{"prompt_tokens":10,"completion_tokens":256,"total_tokens":266}"#;
