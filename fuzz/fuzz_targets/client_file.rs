#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keywheel::app::fuzzing::client_file(data));
