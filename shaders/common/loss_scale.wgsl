// Loss scale: factor of all gradients in the backward pass, against f16 underflow. Only the device updates it.
struct LossScale {
    // Current scale, a power of two: scaling is exact.
    scale: f32,
    // Inverse scale of this step's gradients; 0 where one of them is not finite and the step is skipped.
    factor: f32,
    // Steps in which the optimizer updated weights.
    taken: u32,
    // Such steps since the scale last changed.
    calm: u32,
    skipped: u32,
    // 1 if a gradient of this step is not finite.
    found: u32,
}
