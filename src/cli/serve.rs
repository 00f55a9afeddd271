//! `antiphon serve`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{ConfigArgs, EXIT_CUT_OFF, EXIT_USAGE, fail, runtime};
use crate::app::{App, Ended, Reloader, send_traces};
use crate::config::{Config, KeySource, Source};
use crate::reload::Changes;
use crate::{files, log, shutdown};

/// How long the end waits for work that cannot be called off, such as the look-up of a name.
const LOOSE_ENDS: Duration = Duration::from_millis(500);

pub(super) fn run(args: &ConfigArgs) -> ExitCode {
    let config = match args.load() {
        Ok(config) => config,
        Err(error) => return fail(&error, EXIT_USAGE),
    };
    match runtime() {
        Ok(runtime) => {
            let code = runtime.block_on(watched_over(args, &config));
            runtime.shutdown_timeout(LOOSE_ENDS);
            code
        }
        Err(error) => fail(&error, 1),
    }
}

/// Serves, with a log and with traces.
async fn watched_over(args: &ConfigArgs, config: &Config) -> ExitCode {
    let traces = match send_traces(config) {
        Ok(traces) => traces,
        Err(error) => return fail(&error, 1),
    };
    if let Err(error) = log::init(&config.log, traces.as_ref()) {
        return fail(&error, EXIT_USAGE);
    }
    let code = serve(args, config).await;
    if let Some(traces) = traces {
        traces.end().await;
    }
    code
}

async fn serve(args: &ConfigArgs, config: &Config) -> ExitCode {
    // Whoever reads that it listens may ask it to end at once.
    let (asks, asked) = mpsc::channel(1);
    shutdown::tell(&asks);
    files::allow(config.server.max_connections);
    let app = match App::bind(config).await {
        Ok(app) => app,
        Err(error) => return fail(&error, 1),
    };
    let source = match &config.source {
        Source::File(path) => path.display().to_string(),
        Source::BuiltIn => "built in".to_owned(),
        Source::Flags => "command line".to_owned(),
    };
    for upstream in &config.upstreams {
        tracing::info!(upstream = %upstream.name, url = %upstream.base_url, "upstream");
    }
    if config.clients.need_key {
        tracing::info!(keys = config.clients.keys.len(), "clients need a key");
    }
    // Before it says that it listens: whoever reads that may change the file, or send SIGHUP, at once.
    let changes = Changes::of(&watched(config));
    tokio::spawn(follow(changes, args.clone(), app.reloader()));
    for place in app.places() {
        tracing::info!(config = %source, version = env!("CARGO_PKG_VERSION"), "listening on {place}");
    }
    match app.serve(asked).await {
        Ended::Whole => {
            tracing::info!("ended");
            ExitCode::SUCCESS
        }
        Ended::CutOff(count) => {
            tracing::warn!(count, "ended before all that ran had");
            ExitCode::from(EXIT_CUT_OFF)
        }
    }
}

/// The files whose changes count: the configuration, and the keys and certificates that it names.
fn watched(config: &Config) -> Vec<PathBuf> {
    let mut files: Vec<&Path> = Vec::new();
    if let Source::File(file) = &config.source {
        files.push(file);
    }
    files.extend(config.clients.keys_file.as_deref());
    if let Some(tls) = &config.server.tls {
        files.extend([tls.cert_file.as_path(), &tls.key_file]);
        files.extend(tls.client_ca_file.as_deref());
    }
    for upstream in &config.upstreams {
        if let KeySource::File(file) = &upstream.key_source {
            files.push(file);
        }
        files.extend(upstream.ca_file.as_deref());
    }
    files.into_iter().map(Path::to_path_buf).collect()
}

/// Reads the configuration again whenever something changed.
async fn follow(mut changes: Changes, args: ConfigArgs, reloader: Arc<Reloader>) {
    loop {
        changes.next().await;
        let (args, served) = (args.clone(), Arc::clone(&reloader));
        let reloader = Arc::clone(&reloader);
        // Files are read in it, which may take a moment on a bad day.
        let applied = tokio::task::spawn_blocking(move || reloader.apply(args.load()));
        if let Err(error) = applied.await {
            tracing::error!(%error, "the configuration could not be reloaded");
        }
        // It may name other files now.
        changes.watch(&served.served(watched));
    }
}
