//! Twins of `shaders/attention/`.
//!
//! `qkv[tokens, 3 * width]` holds the queries, keys and values of all heads side by side; `lse` is `[tokens, heads]`.
//! Sequences of `context` tokens are contiguous.

/// Shape of an attention call, from the lengths of its slices.
struct AttentionShape {
    context: usize,
    heads: usize,
    /// Columns per head.
    head: usize,
}

impl AttentionShape {
    fn of(out: usize, lse: usize, context: usize, heads: usize) -> Self {
        Self { context, heads, head: out / lse }
    }

    /// Factor of all query-key products.
    fn scale(&self) -> f32 {
        1.0 / (self.head as f32).sqrt()
    }

    /// Query (part 0), key (1) or value (2) of a token.
    fn part<'a>(&self, qkv: &'a [f32], token: usize, part: usize, head: usize) -> &'a [f32] {
        &qkv[self.at(token, part, head)..][..self.head]
    }

    fn at(&self, token: usize, part: usize, head: usize) -> usize {
        ((token * 3 + part) * self.heads + head) * self.head
    }

    /// A head's columns of a row of `out` or its gradient.
    fn row<'a>(&self, matrix: &'a [f32], token: usize, head: usize) -> &'a [f32] {
        &matrix[(token * self.heads + head) * self.head..][..self.head]
    }

    /// (first token of the sequence, position in it, head) for every row of every head.
    fn rows(&self, lse: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let (context, heads) = (self.context, self.heads);
        (0..lse).map(move |number| {
            let token = number / heads;
            (token / context * context, token % context, number % heads)
        })
    }
}

/// Dot product as a chain of multiply-adds, in the kernel's order.
fn product(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| a.mul_add(*b, sum))
}

fn scaled(row: &[f32], scale: f32) -> Vec<f32> {
    row.iter().map(|x| x * scale).collect()
}

fn add(row: &mut [f32], factor: f32, other: &[f32]) {
    for (x, other) in row.iter_mut().zip(other) {
        *x = factor.mul_add(*other, *x);
    }
}

/// Causal attention, forward: `out` is the mean of the values up to the query's position, weighted by the softmax of
/// `q * k / sqrt(head)`; `lse` is the log-sum-exp of the scores.
pub fn attention_forward(qkv: &[f32], out: &mut [f32], lse: &mut [f32], context: usize, heads: usize) {
    let sizes = AttentionShape::of(out.len(), lse.len(), context, heads);
    for (first, row, head) in sizes.rows(lse.len()) {
        let token = first + row;
        let q = scaled(sizes.part(qkv, token, 0, head), sizes.scale());
        let mut mean = vec![0.0f32; sizes.head];
        let (mut sum, mut largest) = (0.0f32, 0.0f32);
        for key in first..=token {
            let score = product(&q, sizes.part(qkv, key, 1, head));
            let known = if key == first { score } else { largest };
            largest = known.max(score);
            let (shrink, p) = ((known - largest).exp(), (score - largest).exp());
            sum = sum.mul_add(shrink, p);
            for (mean, v) in mean.iter_mut().zip(sizes.part(qkv, key, 2, head)) {
                *mean = p.mul_add(*v, *mean * shrink);
            }
        }
        let number = token * heads + head;
        for (out, mean) in out[number * sizes.head..].iter_mut().zip(mean) {
            *out = mean / sum;
        }
        lse[number] = largest + sum.ln();
    }
}

/// Gradient of the queries, into the first third of `dqkv`. Also writes `delta[tokens, heads]`, the dot product of
/// `grad` and `out`, which [`attention_keys`] reads.
pub fn attention_queries(
    qkv: &[f32],
    out: &[f32],
    lse: &[f32],
    grad: &[f32],
    delta: &mut [f32],
    dqkv: &mut [f32],
    [context, heads]: [usize; 2],
) {
    let sizes = AttentionShape::of(out.len(), lse.len(), context, heads);
    for (first, row, head) in sizes.rows(lse.len()) {
        let token = first + row;
        let number = token * heads + head;
        let q = scaled(sizes.part(qkv, token, 0, head), sizes.scale());
        let g = sizes.row(grad, token, head);
        delta[number] = product(g, sizes.row(out, token, head));
        let mut dq = vec![0.0f32; sizes.head];
        for key in first..=token {
            let k = sizes.part(qkv, key, 1, head);
            let p = (product(&q, k) - lse[number]).exp();
            add(&mut dq, p * (product(g, sizes.part(qkv, key, 2, head)) - delta[number]), k);
        }
        dqkv[sizes.at(token, 0, head)..][..sizes.head].copy_from_slice(&scaled(&dq, sizes.scale()));
    }
}

/// Gradients of the keys and the values, into the second and last third of `dqkv`.
pub fn attention_keys(
    qkv: &[f32],
    lse: &[f32],
    grad: &[f32],
    delta: &[f32],
    dqkv: &mut [f32],
    [context, heads]: [usize; 2],
) {
    let sizes = AttentionShape::of(grad.len(), lse.len(), context, heads);
    for (first, row, head) in sizes.rows(lse.len()) {
        let token = first + row;
        let k = scaled(sizes.part(qkv, token, 1, head), sizes.scale());
        let v = sizes.part(qkv, token, 2, head);
        let (mut dk, mut dv) = (vec![0.0f32; sizes.head], vec![0.0f32; sizes.head]);
        for query in (token..first + context).rev() {
            let q = sizes.part(qkv, query, 0, head);
            let g = sizes.row(grad, query, head);
            let number = query * heads + head;
            let p = (product(&k, q) - lse[number]).exp();
            add(&mut dv, p, g);
            add(&mut dk, p * (product(v, g) - delta[number]), q);
        }
        dqkv[sizes.at(token, 1, head)..][..sizes.head].copy_from_slice(&scaled(&dk, sizes.scale()));
        dqkv[sizes.at(token, 2, head)..][..sizes.head].copy_from_slice(&dv);
    }
}
