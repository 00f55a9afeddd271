//! `antiphon check`

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::probe::{Report, probe};
use super::{ConfigArgs, EXIT_USAGE, fail, runtime, written};
use crate::app::{build_upstreams, server_tls};
use crate::config::{Config, KeySource, Pattern, Source, StorePlace, Target};
use crate::upstream::{ModelInfo, Refusal, Upstream};

/// The most models that are listed for one upstream.
const MOST_MODELS: usize = 20;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Send small real requests to each upstream to find out what it supports (this may cost a little)
    #[arg(long)]
    probe: bool,
    /// Probe this model; otherwise the one that the configuration names, or the first that is listed
    #[arg(long, value_name = "NAME", requires = "probe")]
    model: Option<String>,
}

pub(super) fn run(args: &ConfigArgs, own: &CheckArgs) -> ExitCode {
    let config = match args.load() {
        Ok(config) => config,
        Err(error) => return fail(&error, EXIT_USAGE),
    };
    let upstreams = match build_upstreams(&config) {
        Ok(upstreams) => upstreams,
        Err(error) => return fail(&error, EXIT_USAGE),
    };
    if let Err(error) = server_tls(&config.server) {
        return fail(&error, EXIT_USAGE);
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, 1),
    };
    let answers = runtime.block_on(ask_all(&upstreams));
    let all_well = answers.iter().all(Result::is_ok);
    let printed = written(print(&config, &upstreams, &answers));
    if !own.probe {
        return if all_well { printed } else { ExitCode::from(1) };
    }
    // A list of models is not needed to answer.
    let reports = runtime.block_on(probe_all(&config, &upstreams, &answers, own));
    let well = reports.iter().all(Report::is_well);
    let mut out = io::stdout().lock();
    let probed = written(reports.iter().try_for_each(|report| report.print(&mut out)));
    if well { probed } else { ExitCode::from(1) }
}

/// Probes all at once, each with the model that is asked of it.
async fn probe_all(
    config: &Config,
    upstreams: &[Arc<Upstream>],
    answers: &[Result<Vec<ModelInfo>, Refusal>],
    own: &CheckArgs,
) -> Vec<Report> {
    let mut probed = Vec::with_capacity(upstreams.len());
    for (upstream, answer) in upstreams.iter().zip(answers) {
        let named = named_model(config, &upstream.settings().name);
        let listed = answer.as_ref().ok().and_then(|models| models.first());
        let listed = listed.map(|model| model.id.clone());
        let model = own.model.clone().or(named).or(listed);
        probed.push(tokio::spawn(probe(Arc::clone(upstream), model)));
    }
    let mut reports = Vec::with_capacity(probed.len());
    for report in probed {
        reports.extend(report.await);
    }
    reports
}

/// The first model that the configuration asks of an upstream.
fn named_model(config: &Config, upstream: &str) -> Option<String> {
    let targets = config.models.iter().flat_map(|model| {
        let mut names = vec![model.model.as_deref()];
        if let Pattern::Exact(name) = &model.name {
            names.push(Some(name));
        }
        let own = names.into_iter().flatten().next();
        model.targets.iter().map(move |target| (target, own))
    });
    let mut names = targets
        .filter(|(target, _)| target.upstream == upstream)
        .filter_map(|(target, own)| target.model.as_deref().or(own));
    names.next().map(str::to_owned)
}

async fn ask_all(upstreams: &[Arc<Upstream>]) -> Vec<Result<Vec<ModelInfo>, Refusal>> {
    let asked: Vec<_> = upstreams
        .iter()
        .cloned()
        .map(|upstream| tokio::spawn(async move { upstream.models().await }))
        .collect();
    let mut answers = Vec::with_capacity(asked.len());
    for answer in asked {
        answers.extend(answer.await);
    }
    answers
}

fn print(
    config: &Config,
    upstreams: &[Arc<Upstream>],
    answers: &[Result<Vec<ModelInfo>, Refusal>],
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let source = match &config.source {
        Source::File(path) => path.display().to_string(),
        Source::BuiltIn => "the built-in configuration (no proxy.toml was found)".to_owned(),
        Source::Flags => "the command line".to_owned(),
    };
    writeln!(out, "Configuration: {source}: right")?;
    writeln!(out, "Listens on:    {}", config.server.places().join(", "))?;
    let place = match &config.store.place {
        StorePlace::None => "nothing is kept".to_owned(),
        StorePlace::Memory => "memory, until the program ends".to_owned(),
        StorePlace::Sqlite(path) => path.display().to_string(),
        StorePlace::Postgres(_) => "a Postgres database".to_owned(),
    };
    writeln!(out, "Stores in:     {place}")?;
    let clients = match (config.clients.need_key, config.clients.keys.len()) {
        (false, _) => "no key".to_owned(),
        (true, 1) => "a key; there is one".to_owned(),
        (true, keys) => format!("a key; there are {keys}"),
    };
    writeln!(out, "Clients need:  {clients}\n")?;
    let mut rows = vec![["UPSTREAM", "URL", "PROFILE", "KEY", "MODELS"].map(str::to_owned)];
    for ((entry, upstream), answer) in config.upstreams.iter().zip(upstreams).zip(answers) {
        rows.push([
            if entry.name == config.default_upstream {
                format!("{} *", entry.name)
            } else {
                entry.name.clone()
            },
            entry.base_url.to_string(),
            upstream.settings().dialect.name.clone(),
            match (&entry.key_source, entry.key.is_some()) {
                (KeySource::None, _) => "none".to_owned(),
                (KeySource::Variable(name), true) => format!("${name}"),
                (KeySource::Variable(name), false) => format!("${name} IS NOT SET"),
                (KeySource::File(path), _) => path.display().to_string(),
            },
            match answer {
                Ok(models) => models.len().to_string(),
                Err(_) => "FAILED".to_owned(),
            },
        ]);
    }
    table(&mut out, &rows)?;
    missing(&mut out, config)?;
    writeln!(out, "* takes every model that has no entry of its own")?;
    for (upstream, answer) in upstreams.iter().zip(answers) {
        writeln!(out)?;
        match answer {
            Ok(models) => list(&mut out, &upstream.settings().name, models)?,
            Err(refusal) => writeln!(
                out,
                "{}: {}",
                upstream.settings().name,
                refusal.error.message
            )?,
        }
    }
    entries(&mut out, config)
}

/// Variables that the configuration names and the environment lacks.
fn missing(out: &mut impl Write, config: &Config) -> io::Result<()> {
    for upstream in &config.upstreams {
        for variable in &upstream.missing_variables {
            writeln!(out, "! {}: ${variable} is not set", upstream.name)?;
        }
    }
    Ok(())
}

fn list(out: &mut impl Write, name: &str, models: &[ModelInfo]) -> io::Result<()> {
    writeln!(out, "Models of {name}:")?;
    for model in models.iter().take(MOST_MODELS) {
        match model.context_window {
            Some(tokens) => writeln!(out, "  {}  ({tokens} tokens)", model.id)?,
            None => writeln!(out, "  {}", model.id)?,
        }
    }
    if models.len() > MOST_MODELS {
        writeln!(out, "  … and {} more", models.len() - MOST_MODELS)?;
    }
    Ok(())
}

fn entries(out: &mut impl Write, config: &Config) -> io::Result<()> {
    if config.models.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let mut rows = vec![["NAME", "UPSTREAM", "MODEL THERE"].map(str::to_owned)];
    for model in &config.models {
        let there = |target: &Target| {
            let there = target.model.as_ref().or(model.model.as_ref());
            there.map_or("the same", String::as_str).to_owned()
        };
        for (n, target) in model.targets.iter().enumerate() {
            let name = match n {
                0 => model.name.to_string(),
                _ => String::new(),
            };
            rows.push([name, target.upstream.clone(), there(target)]);
        }
    }
    table(out, &rows)
}

/// Columns as wide as what stands in them.
fn table<const N: usize>(out: &mut impl Write, rows: &[[String; N]]) -> io::Result<()> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
