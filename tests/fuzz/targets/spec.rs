//! libFuzzer's way in to [`rampool_fuzz::spec`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rampool_fuzz::spec(data));
