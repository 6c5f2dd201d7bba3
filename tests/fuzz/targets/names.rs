//! libFuzzer's way in to [`rampool_fuzz::names`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rampool_fuzz::names(data));
