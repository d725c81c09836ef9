#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keywheel::server::fuzzing::user_import(data));
