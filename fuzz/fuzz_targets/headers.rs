#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keywheel::http::fuzzing::headers(data));
