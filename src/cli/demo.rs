//! `antiphon demo`

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::{ConfigArgs, EXIT_CUT_OFF, EXIT_USAGE, environment, fail, runtime};
use crate::app::{App, Ended, check_dialect};
use crate::codex::{self, Snippet};
use crate::config::{self, Config, Flags};
use crate::demo::{self, DemoUpstream};
use crate::show::{Printer, Style};
use crate::{log, shutdown, sse};

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// End after the conversation, instead of serving on
    #[arg(long)]
    once: bool,
}

pub(super) fn run(args: &ConfigArgs, demo: &DemoArgs) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, 1),
    };
    runtime.block_on(async {
        let upstream = match demo::spawn().await {
            Ok(upstream) => upstream,
            Err(error) => return fail(&format!("the scripted model cannot listen: {error}"), 1),
        };
        let config = match configure(args, &upstream) {
            Ok(config) => config,
            Err(error) => return fail(&error, EXIT_USAGE),
        };
        serve(&config, demo.once).await
    })
}

/// The configuration of the demo: the scripted model is the one upstream.
fn configure(args: &ConfigArgs, upstream: &DemoUpstream) -> Result<Config, config::ConfigError> {
    let flags = Flags {
        config: None,
        listen: args.listen.clone(),
        upstream: Some(upstream.base_url().to_owned()),
    };
    // The terminal belongs to the conversation: only warnings are logged, unless asked otherwise. And
    // whoever looks on needs no key.
    let own = [
        ("ANTIPHON__LOG__LEVEL", "warn"),
        ("ANTIPHON__AUTH__MODE", "none"),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
    config::load(&flags, own.into_iter().chain(environment()), check_dialect)
}

async fn serve(config: &Config, once: bool) -> ExitCode {
    if let Err(error) = log::init(&config.log, None) {
        return fail(&error, EXIT_USAGE);
    }
    let app = match App::bind(config).await {
        Ok(app) => app,
        Err(error) => {
            return fail(
                &format!("{error}\n  (`--listen 127.0.0.1:0` takes any free port)"),
                1,
            );
        }
    };
    let places = app.places();
    let Some(place) = places.iter().find(|place| place.starts_with("http://")) else {
        let message = format!(
            "the demo asks over plain TCP, and this listens on {}",
            places.join(", ")
        );
        return fail(&message, 1);
    };
    let base_url = format!("{place}/v1");
    let (asks, asked) = tokio::sync::mpsc::channel(1);
    shutdown::tell(&asks);
    let talk = talk(&base_url, once);
    let serving = tokio::spawn(app.serve(asked));
    if let Err(error) = talk.await {
        return fail(&error, 1);
    }
    if once {
        // Somebody else asked already if it is not taken.
        let _ = asks.try_send(());
    }
    match serving.await {
        Ok(Ended::Whole) => ExitCode::SUCCESS,
        Ok(Ended::CutOff(_)) => ExitCode::from(EXIT_CUT_OFF),
        Err(error) => fail(&error, 1),
    }
}

/// A question, a call, its output, an answer: each over HTTP, as any client would do it.
async fn talk(base_url: &str, once: bool) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(
        out,
        "Antiphon serves {base_url}, and a scripted model stands behind it.\n"
    )?;
    writeln!(
        out,
        "── POST /v1/responses: a question, and a tool to answer it with\n"
    )?;
    let question =
        json!({"role": "user", "content": "What is the weather in Paris? Use the tool."});
    let first = request(std::slice::from_ref(&question));
    let answer = stream(base_url, &first, &mut out).await?;
    let mut input = vec![question];
    let mut called = false;
    for item in answer["output"].as_array().into_iter().flatten() {
        input.push(item.clone());
        if item["type"] == "function_call" {
            called = true;
            let output = json!({"type": "function_call_output", "call_id": item["call_id"], "output": "18 °C, a light wind, no clouds"});
            input.push(output);
        }
    }
    if called {
        writeln!(
            out,
            "\n── POST /v1/responses: the same with the tool's output\n"
        )?;
        stream(base_url, &request(&input), &mut out).await?;
    }
    let snippet = Snippet {
        base_url: base_url.to_owned(),
        model: Some(demo::MODEL.to_owned()),
        key: codex::Key::default(),
    };
    writeln!(
        out,
        "\n── Codex: put this into ~/.codex/config.toml, then try `codex \"run a command\"`\n"
    )?;
    writeln!(out, "{}", codex::snippet(&snippet))?;
    let then = match once {
        true => String::new(),
        false => format!("Serving {base_url} until Ctrl-C. "),
    };
    writeln!(
        out,
        "{then}For a real model: antiphon --upstream http://127.0.0.1:11434/v1"
    )
}

fn request(input: &[Value]) -> Value {
    json!({
        "model": demo::MODEL,
        "stream": true,
        "store": false,
        "input": input,
        "tools": [{
            "type": "function",
            "name": "get_weather",
            "description": "Tells the weather of a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        }],
    })
}

/// Sends a request, shows its events as they come, and gives back the response at the end.
async fn stream(base_url: &str, body: &Value, out: &mut io::Stdout) -> io::Result<Value> {
    let tls = crate::upstream::Tls::default()
        .config()
        .map_err(io::Error::other)?;
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .build()
        .map_err(io::Error::other)?;
    let answer = client
        .post(format!("{base_url}/responses"))
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
        .map_err(io::Error::other)?;
    let style = Style {
        color: out.is_terminal(),
        verbose: false,
    };
    let mut printer = Printer::new(out, style);
    let mut decoder = sse::Decoder::new(1024 * 1024);
    let mut last = Value::Null;
    let mut result = Ok(());
    let mut body = http::Response::from(answer).into_body();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(io::Error::other)?.into_data() else {
            continue;
        };
        let pushed = decoder.push(&data, |event| {
            if result.is_ok() {
                result = printer.event(event);
            }
            if let Ok(Value::Object(event)) = serde_json::from_slice(event)
                && let Some(response) = event.get("response")
            {
                last = response.clone();
            }
        });
        pushed.map_err(io::Error::other)?;
    }
    result?;
    printer.finish()?;
    Ok(last)
}
