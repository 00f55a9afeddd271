//! `antiphon serve`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::{ConfigArgs, EXIT_USAGE, fail, runtime};
use crate::app::{App, Reloader, send_traces};
use crate::config::{Config, KeySource, Source};
use crate::reload::Changes;
use crate::{log, shutdown};

pub(super) fn run(args: &ConfigArgs) -> ExitCode {
    let config = match args.load() {
        Ok(config) => config,
        Err(error) => return fail(&error, EXIT_USAGE),
    };
    match runtime() {
        Ok(runtime) => runtime.block_on(watched_over(args, &config)),
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
    let stop = shutdown::requested();
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
    // Before it says that it listens: whoever reads that may change the file at once.
    if let Source::File(file) = &config.source {
        tokio::spawn(follow(
            Changes::of(&watched(file, config)),
            args.clone(),
            app.reloader(),
        ));
    }
    tracing::info!(config = %source, version = env!("CARGO_PKG_VERSION"), "listening on http://{}", app.address());
    let all_ended = app.serve(stop).await;
    if all_ended {
        tracing::info!("ended");
        ExitCode::SUCCESS
    } else {
        tracing::warn!("ended before all running responses had");
        ExitCode::from(1)
    }
}

/// The files whose changes count: the configuration, and the keys and certificates that it names.
fn watched(file: &Path, config: &Config) -> Vec<PathBuf> {
    let mut files = vec![file.to_path_buf()];
    for upstream in &config.upstreams {
        if let KeySource::File(file) = &upstream.key_source {
            files.push(file.clone());
        }
        files.extend(upstream.ca_file.clone());
    }
    files
}

/// Reads the configuration again whenever something changed.
async fn follow(mut changes: Changes, args: ConfigArgs, reloader: Arc<Reloader>) {
    loop {
        changes.next().await;
        let (args, reloader) = (args.clone(), Arc::clone(&reloader));
        // Files are read in it, which may take a moment on a bad day.
        let applied = tokio::task::spawn_blocking(move || reloader.apply(args.load()));
        if let Err(error) = applied.await {
            tracing::error!(%error, "the configuration could not be reloaded");
        }
    }
}
