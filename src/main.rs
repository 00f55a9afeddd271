//! The `antiphon` command.

use std::process::ExitCode;

/// Of the allocators that were measured the one with the least CPU and memory, see
/// `docs/performance.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    antiphon::cli::run()
}
