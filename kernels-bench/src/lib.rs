//! Benchmarks of fretwork.
