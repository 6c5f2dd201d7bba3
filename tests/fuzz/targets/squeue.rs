//! libFuzzer's way in to [`rampool_fuzz::squeue`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rampool_fuzz::squeue(data));
