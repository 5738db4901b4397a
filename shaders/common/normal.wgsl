// Standard normal distribution: samples, cumulative probability and density.

// Standard normal sample from 32 random bits: the quantile at the midpoint of one of 2^24 equal intervals, by the
// rational approximations of Wichura's algorithm AS 241 (PPND7). 24 bits never reach its far-tail branch, which is
// left out.
fn normal(bits: u32) -> f32 {
    // Probability minus 0.5, exact in f32.
    let q = (f32(bits >> 8u) - 8388607.5) * (1.0 / 16777216.0);
    if abs(q) <= 0.425 {
        let r = 0.180625 - q * q;
        let over = ((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179;
        let under = ((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1.0;
        return q * over / under;
    }
    let r = sqrt(-log(0.5 - abs(q))) - 1.6;
    let over = ((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777;
    let under = (0.12021132975 * r + 0.73700164250) * r + 1.0;
    return sign(q) * over / under;
}

// Clamp for |x|: beyond it the probability is 0 or 1 in f32, and exp(-x^2 / 2) is still a normal number.
const CLAMP = 13.0;

// P(X < x) of a standard normal X, to 1e-7 (Abramowitz and Stegun, 7.1.26).
fn probability_below(x: f32) -> f32 {
    let clamped = min(abs(x), CLAMP);
    let t = 1.0 / (1.0 + 0.23164189 * clamped);
    let series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
    let tail = 0.5 * series * exp(-0.5 * clamped * clamped);
    return select(1.0 - tail, tail, x < 0.0);
}

// Density of the standard normal distribution.
fn density(x: f32) -> f32 {
    let clamped = min(abs(x), CLAMP);
    return 0.3989422804 * exp(-0.5 * clamped * clamped);
}
