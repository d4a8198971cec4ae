#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../../tests/fuzz/url.rs"]
mod url;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| url::hold(bytes));
