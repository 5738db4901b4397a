#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fretwork::readers::image(bytes);
});
