// Noise of Shazeer's noisy top-k gate: a normal draw per element and step, scaled by a learned standard deviation.
import package::common::normal::normal;
import package::common::random::threefry;
import package::common::step::now;

fn draw(key: vec2<u32>, element: u32) -> f32 {
    return normal(threefry(key, vec2<u32>(element, now.index)).x);
}

const LEAST = 0.01;

// Standard deviation of the noise: softplus(x) + LEAST, without overflow of the exponential.
fn spread(x: f32) -> f32 {
    return max(x, 0.0) + log(1.0 + exp(max(-abs(x), -87.0))) + LEAST;
}
