//! libFuzzer's way in to [`rampool_fuzz::pool_file`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rampool_fuzz::pool_file(data));
