#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keywheel::storage::fuzzing::database_url(data));
