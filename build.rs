//! Lays the functions that a start and an answer need next to each other in the release program.
//!
//! Of 18 MB of code a server that waits has run a seventh. As the linker finds the functions they are strewn over
//! all of it, and as the system maps code by 16 pages, half of it ends up in memory. `assets/layout.txt` names those
//! functions, `benches/layout.py` writes it, and this has the linker put them first. It is never needed: where the
//! linker does not know how (it is tried with a program of its own), they stay where they are.

#![allow(clippy::print_stdout, reason = "how a build script talks to cargo")]

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names of functions as the linker sees them, one a line, `*` for anything; lines with `#` are remarks.
const LAYOUT: &str = "assets/layout.txt";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={LAYOUT}");
    let release = env::var_os("PROFILE").is_some_and(|profile| profile == "release");
    let linux = env::var_os("CARGO_CFG_TARGET_OS").is_some_and(|system| system == "linux");
    if !release || !linux {
        return;
    }
    if let Some(script) = write_script()
        && links(&script)
    {
        println!("cargo::rustc-link-arg-bin=antiphon={}", option(&script));
    }
}

/// The linker's script with the names, or none where there are no names.
fn write_script() -> Option<PathBuf> {
    let layout = fs::read_to_string(LAYOUT).ok()?;
    let mut sections = String::new();
    let names = layout
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    for name in names {
        // What the compiler takes for seldom used has a section of another name.
        writeln!(sections, "    *(.text.{name} .text.unlikely.{name})").ok()?;
    }
    let script = folder()?.join("layout.ld");
    let text = format!(
        "SECTIONS\n{{\n  .text.first : ALIGN(4096)\n  {{\n{sections}  }}\n}}\nINSERT BEFORE .text;\n"
    );
    fs::write(&script, text).ok()?;
    Some(script)
}

/// Whether a program can be linked with the script, by the linker and the options that the build has, and runs.
fn links(script: &Path) -> bool {
    try_link(script).unwrap_or(false)
}

fn try_link(script: &Path) -> Option<bool> {
    let source = folder()?.join("probe.rs");
    let program = folder()?.join("probe");
    fs::write(
        &source,
        "fn main() { println!(\"{:?}\", std::env::args()); }\n",
    )
    .ok()?;
    let (host, target) = (env::var_os("HOST")?, env::var_os("TARGET")?);
    let mut rustc = Command::new(env::var_os("RUSTC")?);
    rustc
        .args(["--edition", "2024", "--crate-type", "bin", "--target"])
        .arg(&target);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = OsString::from("linker=");
        option.push(linker);
        rustc.arg("-C").arg(option);
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()));
    rustc.arg("-C").arg(format!("link-arg={}", option(script)));
    rustc.arg("-o").arg(&program).arg(&source);
    let linked = quiet(&mut rustc)?;
    // One for another machine cannot be run here.
    Some(linked && (host != target || quiet(&mut Command::new(&program))?))
}

/// Whether a command succeeds; what it says is of no use.
fn quiet(command: &mut Command) -> Option<bool> {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    Some(status.ok()?.success())
}

/// What the compiler driver hands on to the linker.
fn option(script: &Path) -> String {
    format!("-Wl,-T,{}", script.display())
}

fn folder() -> Option<PathBuf> {
    env::var_os("OUT_DIR").map(PathBuf::from)
}
