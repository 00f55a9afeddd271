//! Antiphon answers the OpenAI Responses API out of servers that only speak Chat Completions.
//!
//! # Reading order
//!
//! 1. [`translate`]: the core, and the picture of it;
//! 2. [`responses`] and [`chat`]: the two APIs as types;
//! 3. [`engine`]: the life of one response, around the core;
//! 4. [`upstream`]: how a model server is asked;
//! 5. [`server`]: how a client is answered;
//! 6. [`app`] and [`cli`]: how it all comes together.
//!
//! The rooms depend on each other in one direction only; `ARCHITECTURE.md` has the table and a test
//! keeps it.

pub mod admission;
pub mod app;
pub mod chat;
pub mod cli;
pub mod closing;
pub mod codex;
pub mod config;
pub mod demo;
pub mod engine;
mod files;
mod gate;
mod glob;
mod ids;
pub mod json;
pub mod key;
pub mod log;
pub mod profile;
mod reload;
pub mod responses;
pub mod seal;
pub mod server;
pub mod show;
mod shutdown;
pub mod sse;
pub mod store;
pub mod telemetry;
pub mod time;
pub mod translate;
pub mod upstream;
