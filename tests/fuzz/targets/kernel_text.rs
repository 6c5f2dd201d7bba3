//! libFuzzer's way in to [`rampool_fuzz::kernel_text`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rampool_fuzz::kernel_text(data));
