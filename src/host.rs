//! The host's memory.

/// Bytes that a new allocation can have without swapping: what the system says is available, or the limit of the control group
/// if that is less. `None` where the system does not say.
pub(crate) fn available_memory() -> Option<u64> {
    let available = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_of(&text));
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = group.and_then(|text| text.trim().parse().ok());
    available.into_iter().chain(limit).min()
}

/// The line `MemAvailable: N kB` of `/proc/meminfo`, in bytes.
fn available_of(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_found() {
        let text = "MemTotal:       24576000 kB\nMemAvailable:   20480000 kB\nSwapTotal: 0 kB\n";
        assert_eq!(available_of(text), Some(20_480_000 * 1024));
        assert_eq!(available_of("MemAvailable: many kB\n"), None);
        assert_eq!(available_of(""), None);
        if cfg!(target_os = "linux") {
            assert!(available_memory().is_some_and(|bytes| bytes > 1 << 20));
        }
    }
}
