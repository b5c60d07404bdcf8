#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| photo_factory_fuzz::properties::worker_reply(input));
