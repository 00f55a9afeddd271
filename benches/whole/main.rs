//! The whole program beside nginx: what translating costs, compared with not translating at all.
//!
//!     cargo bench --bench whole -- [--only NAME,…] [--reps N] [--streams N] BINARY [OLDER …]
//!
//! Three kinds of targets run in turn, each in a process of its own on core 0, while this process,
//! which is both the upstream and the load, has core 1:
//!
//! * `nginx` (`apt install nginx-light`) passes through a stream of Responses events that the
//!   upstream has finished: what a proxy costs that does not translate;
//! * `bytes` copies the bytes of the same connections in tokio: the same without HTTP;
//! * each BINARY is Antiphon, and translates.
//!
//! The table gives medians. CPU is the target's own, by `/proc/PID/task/*/schedstat`. On a machine
//! that has other work only ratios within a run mean anything, and those only roughly.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench: what is not as it should be ends it"
)]

mod load;
mod mock;
mod script;
mod target;

use std::process::Command;
use std::time::Duration;

use load::Figures;
use script::{Script, Workload};
use target::{Kind, Target};

/// What is asked for on the command line.
struct Args {
    only: Vec<String>,
    reps: usize,
    streams: usize,
    binaries: Vec<String>,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [word, listen, upstream] = args.as_slice()
        && word == target::FORWARD
    {
        return target::forward(listen, upstream);
    }
    if std::env::var_os("WHOLE_PINNED").is_none() && pinned(&args) {
        return;
    }
    let Some(args) = parse(args) else {
        println!("whole: name the binaries to run, e.g. target/release/antiphon; nothing done");
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(&args));
}

/// Runs this program again on core 1, if that can be had.
fn pinned(args: &[String]) -> bool {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let exe = std::env::current_exe().unwrap();
    let mut command = Command::new("taskset");
    command.args(["-c", "1"]).arg(exe).args(args);
    cores > 1 && command.env("WHOLE_PINNED", "1").status().is_ok()
}

fn parse(args: Vec<String>) -> Option<Args> {
    let mut parsed = Args {
        only: Vec::new(),
        reps: 3,
        streams: 1000,
        binaries: Vec::new(),
    };
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            // cargo's own.
            "--bench" => {}
            "--only" => parsed.only = args.next()?.split(',').map(str::to_owned).collect(),
            "--reps" => parsed.reps = args.next()?.parse().ok()?,
            "--streams" => parsed.streams = args.next()?.parse().ok()?,
            _ => parsed.binaries.push(arg),
        }
    }
    (!parsed.binaries.is_empty()).then_some(parsed)
}

async fn run(args: &Args) {
    let upstream = mock::start().await;
    let mut kinds = vec![];
    match target::find_nginx() {
        Some(path) => kinds.push(Kind::Nginx(path)),
        None => println!("nginx is not installed (apt install nginx-light): no ratios without it"),
    }
    kinds.push(Kind::Bytes);
    kinds.extend(args.binaries.iter().cloned().map(Kind::Antiphon));
    let workloads = script::workloads(args.streams);
    let wanted = |workload: &&Workload| {
        args.only.is_empty() || args.only.iter().any(|name| name == workload.name)
    };
    for workload in workloads.iter().filter(wanted) {
        let mut rows: Vec<Vec<Figures>> = kinds.iter().map(|_| Vec::new()).collect();
        for _ in 0..args.reps {
            for (kind, row) in kinds.iter().zip(&mut rows) {
                let target = Target::start(kind, upstream).await;
                load::warm_up(&target, workload).await;
                row.push(load::run(&target, workload).await);
                drop(target);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        print(workload, &kinds, &rows);
    }
}

fn print(workload: &Workload, kinds: &[Kind], rows: &[Vec<Figures>]) {
    let Script { deltas, .. } = workload.script;
    println!("\n{} ({})", workload.name, workload.about);
    println!(
        "{:<44}{:>9}{:>11}{:>11}{:>8}{:>12}{:>12}{:>12}{:>10}",
        "", "req/s", "us/delta", "us/req", "x", "first ms", "late p50", "late p99", "KB/stream"
    );
    let nginx = rows
        .first()
        .filter(|_| matches!(kinds.first(), Some(Kind::Nginx(_))));
    let base = nginx.map(|rows| median(rows, |figures| figures.cpu_us));
    for (kind, row) in kinds.iter().zip(rows) {
        let of = |read: fn(&Figures) -> f64| median(row, read);
        let cpu = of(|figures| figures.cpu_us);
        let ratio = base.map_or_else(|| "-".into(), |base| format!("{:.2}", cpu / base));
        println!(
            "{:<44}{:>9.0}{:>11.2}{:>11.0}{:>8}{:>12.2}{:>12.3}{:>12.3}{:>10.1}",
            kind.to_string(),
            of(|figures| figures.rate),
            cpu / deltas as f64,
            cpu,
            ratio,
            of(|figures| figures.first_ms),
            of(|figures| figures.late_ms.0),
            of(|figures| figures.late_ms.1),
            of(|figures| figures.stream_kb),
        );
    }
}

fn median(rows: &[Figures], read: impl Fn(&Figures) -> f64) -> f64 {
    let mut values: Vec<f64> = rows.iter().map(read).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
