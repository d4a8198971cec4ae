#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../../tests/fuzz/yaml.rs"]
mod yaml;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| yaml::hold(bytes));
