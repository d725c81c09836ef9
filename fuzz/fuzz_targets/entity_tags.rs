#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keywheel::http::fuzzing::entity_tags(data));
