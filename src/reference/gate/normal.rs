//! Twin of `shaders/common/normal.wgsl` and `shaders/common/noise.wgsl`.

/// Standard normal sample from the upper 24 of 32 random bits: the quantile at the midpoint of one of 2^24 equal
/// intervals (Wichura, "Algorithm AS 241", Applied Statistics 37, 1988: PPND7).
pub fn normal(bits: u32) -> f32 {
    let q = ((bits >> 8) as f32 - 8_388_607.5) * (1.0 / 16_777_216.0);
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        let over = ((59.109_375 * r + 159.291_14) * r + 50.434_27) * r + 3.387_132_7;
        let under = ((67.187_56 * r + 78.757_76) * r + 17.895_17) * r + 1.0;
        return q * over / under;
    }
    let r = (-(0.5 - q.abs()).ln()).sqrt() - 1.6;
    let over = ((0.170_238_21 * r + 1.306_728_5) * r + 2.756_815_4) * r + 1.423_437_2;
    let under = (0.120_211_33 * r + 0.737_001_64) * r + 1.0;
    q.signum() * over / under
}

const CLAMP: f32 = 13.0;

/// P(X < x) of a standard normal X, to 1e-7 (Abramowitz and Stegun, "Handbook of Mathematical Functions", 7.1.26).
pub fn probability_below(x: f32) -> f32 {
    let clamped = x.abs().min(CLAMP);
    let t = 1.0 / (1.0 + 0.231_641_89 * clamped);
    let series =
        ((((1.061_405_4 * t - 1.453_152) * t + 1.421_413_7) * t - 0.284_496_74) * t + 0.254_829_6) * t;
    let tail = 0.5 * series * (-0.5 * clamped * clamped).exp();
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// Density of the standard normal distribution, the derivative of [`probability_below`].
pub(super) fn density(x: f32) -> f32 {
    let clamped = x.abs().min(CLAMP);
    0.398_942_3 * (-0.5 * clamped * clamped).exp()
}

/// Standard deviation of the noise: `softplus(x) + 0.01`.
pub(super) fn spread(x: f32) -> f32 {
    x.max(0.0) + (1.0 + (-x.abs()).max(-87.0).exp()).ln() + 0.01
}
