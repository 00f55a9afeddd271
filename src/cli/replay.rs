//! `antiphon replay FILE`

use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{EXIT_USAGE, fail, written};
use crate::profile;
use crate::responses::response::{Echo, Head};
use crate::show::{Printer, Style};
use crate::sse;
use crate::translate::{Bytes, Limits, Pipeline, Thinking, ToolMap, TurnContext};

/// Recordings are read whole.
const LONGEST: u64 = 256 * 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The recording: what a chat server sent, as a stream or as one JSON document; `-` for
    /// standard input
    file: PathBuf,
    /// The dialect of the server that sent it
    #[arg(long, value_name = "NAME", default_value = "generic")]
    profile: String,
    /// One line for each event, with its JSON
    #[arg(long, short, conflicts_with = "sse")]
    verbose: bool,
    /// The bytes that a client would get
    #[arg(long)]
    sse: bool,
}

pub(super) fn run(args: &ReplayArgs) -> ExitCode {
    let (_, profile) = match profile::resolve(&args.profile, "", None, &toml::Table::new()) {
        Ok(profile) => profile,
        Err(error) => return fail(&error, EXIT_USAGE),
    };
    let recording = match read(&args.file) {
        Ok(recording) => recording,
        Err(error) => return fail(&format!("{}: {error}", args.file.display()), 1),
    };
    let events = replay(&recording, &profile);
    let mut out = io::stdout().lock();
    if args.sse {
        return written(out.write_all(&events).and_then(|()| out.flush()));
    }
    let style = Style {
        color: out.is_terminal(),
        verbose: args.verbose,
    };
    written(show(&events, out, style))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().lock().take(LONGEST).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?
            .take(LONGEST)
            .read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn replay(recording: &[u8], profile: &profile::Profile) -> Vec<u8> {
    let head = Head {
        id: "resp_replay".into(),
        created_at: crate::time::unix_now(),
        model: "replay".into(),
        echo: Echo::default(),
    };
    let context = TurnContext::new(head, ToolMap::default(), Thinking::Content);
    let mut sink = Bytes::default();
    let limits = Limits {
        event_bytes: usize::MAX,
        answer_bytes: usize::MAX,
    };
    let mut pipeline = Pipeline::start(context, profile, true, limits, &mut sink);
    pipeline.push(recording, &mut sink);
    pipeline.finish(None, crate::time::unix_now(), 0, &mut sink);
    sink.out
}

/// Prints events that are there as server-sent events.
pub(super) fn show(events: &[u8], out: impl Write, style: Style) -> io::Result<()> {
    let mut printer = Printer::new(out, style);
    let mut decoder = sse::Decoder::new(usize::MAX);
    let mut result = Ok(());
    // No event is longer than can be held.
    let _ = decoder.push(events, |data| {
        if result.is_ok() {
            result = printer.event(data);
        }
    });
    result.and_then(|()| printer.finish())
}
