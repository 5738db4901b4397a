// Distance of an expert's logit without noise from its selection threshold, in standard deviations of its noise.
//
// The threshold is the k-th largest noisy logit of the token or, for an expert among those k, the (k+1)-th. k is less
// than the number of experts.
import package::common::gate::ordered;
import package::common::noise::spread;

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> noise: array<f32>;
@group(0) @binding(2) var<storage, read> noisy: array<f32>;
@group(0) @binding(3) var<storage, read> experts: array<u32>;

// The k-th expert of a token by noisy logit, and the (k+1)-th.
struct Brink {
    last: u32,
    next: u32,
}

fn find_brink(token: u32, count: u32, assignments: u32) -> Brink {
    let row = token * count;
    // Clamped to the row, because the index comes from a buffer.
    var brink = Brink(min(experts[token * assignments + assignments - 1u], count - 1u), 0u);
    var largest = 0u;
    for (var expert = 0u; expert < count; expert++) {
        let key = ordered(noisy[row + expert]);
        if !in_top_k(row, expert, brink.last) && key > largest {
            brink.next = expert;
            largest = key;
        }
    }
    return brink;
}

fn in_top_k(row: u32, expert: u32, last: u32) -> bool {
    let key = ordered(noisy[row + expert]);
    let last_key = ordered(noisy[row + last]);
    return key > last_key || (key == last_key && expert <= last);
}

fn distance_of(row: u32, expert: u32, brink: Brink) -> f32 {
    let threshold = noisy[row + select(brink.last, brink.next, in_top_k(row, expert, brink.last))];
    return (logits[row + expert] - threshold) / spread(noise[row + expert]);
}
