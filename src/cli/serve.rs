//! `antiphon serve`

use std::process::ExitCode;

use super::{ConfigArgs, EXIT_USAGE, fail, runtime};
use crate::app::App;
use crate::config::{Config, Source};
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
        Ok(runtime) => runtime.block_on(serve(&config)),
        Err(error) => fail(&error, 1),
    }
}

async fn serve(config: &Config) -> ExitCode {
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
