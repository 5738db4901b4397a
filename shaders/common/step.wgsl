// Per-step values. The host writes them before each step; they are all that changes between replays of a plan.
struct Step {
    index: u32,
    learning_rate: f32,
    // Inverse number of rows that count in this batch.
    row_scale: f32,
    // AdamW bias corrections: 1 / (1 - beta^t) of the first and the second moment.
    correction_1: f32,
    correction_2: f32,
    // Steps in which the optimizer has updated weights, this one included.
    moves: u32,
}

@group(0) @binding(8) var<uniform> now: Step;
