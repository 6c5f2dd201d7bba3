//! libFuzzer's way in to [`rampool_fuzz::host_list`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rampool_fuzz::host_list(data));
