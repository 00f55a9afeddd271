//! All integration tests, in one binary: they start the built proxy and look at it from outside.

mod api;
mod codex;
mod core;
mod docs;
mod grammar;
#[cfg(target_os = "linux")]
mod load;
mod real;
mod sdk;
mod store;
mod support;
