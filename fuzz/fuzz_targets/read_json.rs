//! See `targets::read_json`.

#![no_main]

#[path = "../src/targets.rs"]
#[allow(dead_code, reason = "each binary uses one of them")]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::read_json(data));
