//! What the system knows of this process, under the names that every Prometheus client has for it.

use std::fs;

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// Ticks of a second in `/proc`, the same on every Linux that one meets.
const TICKS: f64 = 100.0;
/// Bytes of a page, where the kernel does not count in kilobytes.
const KILO: f64 = 1024.0;

/// Registers what can be found out; without `/proc` nothing.
pub(super) fn register(registry: &mut Registry) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        let number: f64 = line.split_whitespace().next()?.parse().ok()?;
        Some(number * KILO)
    };
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let stat = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let fields: Vec<f64> = stat
        .split(' ')
        .map(|field| field.trim().parse().unwrap_or_default())
        .collect();
    // Numbered as in proc(5), whose third field comes first here.
    let field = |number: usize| fields.get(number - 3).copied();
    let mut gauge = |name: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            registry.register(name, help, ConstGauge::new(value));
        }
    };
    gauge(
        "process_resident_memory_bytes",
        "Resident memory",
        kilobytes("VmRSS:"),
    );
    gauge(
        "process_virtual_memory_bytes",
        "Virtual memory",
        kilobytes("VmSize:"),
    );
    gauge("process_open_fds", "Open file descriptors", open_files());
    gauge(
        "process_max_fds",
        "The most file descriptors that may be open",
        most_files(),
    );
    gauge("process_threads", "Threads", field(20));
    let started = field(22).zip(booted_at());
    gauge(
        "process_start_time_seconds",
        "When the process began, in Unix time",
        started.map(|(ticks, booted)| booted + ticks / TICKS),
    );
    if let Some((user, system)) = field(14).zip(field(15)) {
        let seconds = (user + system) / TICKS;
        registry.register(
            "process_cpu_seconds",
            "User and system time",
            ConstCounter::new(seconds),
        );
    }
}

fn open_files() -> Option<f64> {
    let files = fs::read_dir("/proc/self/fd").ok()?.count();
    // The folder is open while it is read.
    u32::try_from(files.saturating_sub(1)).ok().map(f64::from)
}

fn most_files() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn booted_at() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}
