//! libFuzzer's way in to [`rampool_fuzz::job_socket`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rampool_fuzz::job_socket(data));
