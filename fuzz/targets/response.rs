#![no_main]

#[path = "../../tests/fuzz/response.rs"]
mod response;
#[path = "../../tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| response::hold(bytes));
