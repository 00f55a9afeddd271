//! `antiphon serve`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::{ConfigArgs, EXIT_USAGE, fail, runtime};
use crate::app::{App, Reloader};
use crate::config::{Config, KeySource, Source};
use crate::reload::Changes;
use crate::{log, shutdown};

pub(super) fn run(args: &ConfigArgs) -> ExitCode {
    let config = match args.load() {
        Ok(config) => config,
        Err(error) => return fail(&error, EXIT_USAGE),
    };
    if let Err(error) = log::init(&config.log) {
        return fail(&error, EXIT_USAGE);
    }
    match runtime() {
        Ok(runtime) => runtime.block_on(serve(args, &config)),
        Err(error) => fail(&error, 1),
    }
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
    if config.clients.need_key {
        tracing::info!(keys = config.clients.keys.len(), "clients need a key");
    }
    // Before it says that it listens: whoever reads that may change the file at once.
    let files = watched(config);
    if !files.is_empty() {
        let changes = Changes::of(&files);
        tokio::spawn(follow(changes, args.clone(), app.reloader()));
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
fn watched(config: &Config) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if let Source::File(file) = &config.source {
        files.push(file.clone());
    }
    files.extend(config.clients.keys_file.clone());
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
