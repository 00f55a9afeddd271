//! See `targets::custom_input`.

#![no_main]

#[path = "../src/targets.rs"]
#[allow(dead_code, reason = "each binary uses one of them")]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::custom_input(data));
