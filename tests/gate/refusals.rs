//! Invalid gate calls are refused by name before anything is recorded; non-finite logits are contained.

use fretwork::gpu::{Class, Gpu, Recorder, Tensor};
use fretwork::ops::gate::{self, ABSENT, Balance, Draw, Gate, Grads, Inputs, Outputs, Overflow, Results};
use fretwork::ops::{self, IGNORED, Step, StepValues};

use crate::{Setup, gpu, key, read, run, walk};

/// Gate tensors for 8 tokens and 4 experts.
struct Room {
    matrix: Tensor,
    noise: Tensor,
    probs: Tensor,
    tokens: Tensor,
    experts: Tensor,
    weights: Tensor,
    words: Tensor,
}

impl Room {
    fn new(gpu: &Gpu) -> Self {
        let floats = |shape: &[usize]| gpu.alloc::<f32>(Class::Scratch, "test", shape).unwrap();
        let words = |shape: &[usize]| gpu.alloc::<u32>(Class::Scratch, "test", shape).unwrap();
        Self {
            matrix: floats(&[8, 4]),
            noise: floats(&[8, 4]),
            probs: floats(&[8, 4]),
            tokens: floats(&[8, 4]),
            experts: words(&[8, 2]),
            weights: floats(&[8, 2]),
            words: words(&[8]),
        }
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs { logits: &self.matrix, noise: None, bias: None, valid: None, draw: None }
    }

    fn outputs(&self) -> Outputs<'_> {
        let Self { probs, tokens, experts, weights, .. } = self;
        Outputs { probs, tokens, experts, weights, noisy: None }
    }
}

#[test]
fn what_does_not_fit() {
    let gpu = gpu();
    let room = Room::new(&gpu);
    let step = Step::new(&gpu, StepValues::forward(0)).unwrap();
    let draw = Some(Draw { key: key(), step: &step });
    let (inputs, out) = (room.inputs(), room.outputs());
    let refused = |gate: &str, inputs: Inputs<'_>, out: Outputs<'_>, wanted: &str| {
        let mut rec = Recorder::new(&gpu);
        let error = gate::forward(&mut rec, gate.parse().unwrap(), inputs, out).unwrap_err().to_string();
        assert!(error.contains(wanted), "{gate}: {error:?} should say {wanted:?}");
        assert!(rec.is_empty(), "{gate}");
    };
    let wide = gpu.alloc::<f32>(Class::Scratch, "wide", &[1, 513]).unwrap();
    refused("softmax-top:5", inputs, out, "gate: softmax-top:5 assigns 5 experts per token of 4 experts");
    refused("softmax-top:0", inputs, out, "assigns 0 experts per token");
    refused("softmax-top:2", Inputs { logits: &wide, ..inputs }, out, "513 experts; must be 1 to 512");
    refused("sigmoid-top:2:chosen", inputs, out, "weights `chosen` need softmax probabilities");
    refused("expert-choice:-1", inputs, out, "must be positive and finite");
    refused("hash:2", inputs, out, "gate should be a gate with logits");
    refused("softmax-top:1", inputs, out, "experts should be of shape [8, 1]");
    refused("softmax-top:2:tile=4", inputs, out, "experts should be of shape [8, 4]");
    refused(
        "softmax-top:2",
        inputs,
        Outputs { tokens: &room.weights, ..out },
        "tokens should be of shape [8, 4]",
    );
    refused(
        "softmax-top:2",
        inputs,
        Outputs { probs: &room.weights, ..out },
        "probs should be of shape [8, 4]",
    );
    refused("softmax-top:2", Inputs { logits: &room.words, ..inputs }, out, "logits should be a matrix");
    refused("softmax-top:2", Inputs { noise: Some(&room.noise), ..inputs }, out, "noise should be absent");
    refused("gshard", Inputs { bias: Some(&room.words), ..inputs }, out, "bias should be absent for gshard");
    refused("softmax-top:2", inputs, Outputs { experts: &room.weights, ..out }, "experts should be of U32");
    refused("noisy-top:2", Inputs { draw, ..inputs }, out, "noise should be given where noise is drawn");
    refused(
        "noisy-top:2",
        Inputs { draw, noise: Some(&room.noise), ..inputs },
        out,
        "noisy should be given where noise is drawn",
    );

    let gate = Gate::GShard { random: false };
    let mut rec = Recorder::new(&gpu);
    let floats = |shape: &[usize]| gpu.alloc::<f32>(Class::Scratch, "test", shape).unwrap();
    let counts = gpu.alloc::<u32>(Class::Scratch, "counts", &[4]).unwrap();
    let (losses, slopes) = (floats(&[5]), floats(&[4, 4]));
    let results = Results { losses: &losses, counts: &counts, slopes: &slopes };
    let balance = Balance { z: f32::NAN, ..Balance::default() };
    let error = gate::losses(&mut rec, gate, inputs, out, balance, results).unwrap_err().to_string();
    assert!(error.contains("balance: z is NaN"), "{error}");
    let results = Results { losses: &slopes, ..results };
    let error =
        gate::losses(&mut rec, gate, inputs, out, Balance::default(), results).unwrap_err().to_string();
    assert!(error.contains("losses should be of shape [5]"), "{error}");
    let grads = Grads { logits: &room.noise, noise: None };
    let error =
        gate::backward(&mut rec, gate, inputs, out, &room.matrix, None, grads).unwrap_err().to_string();
    assert!(error.contains("weights_grad should be of shape [8, 2]"), "{error}");
    let words = |shape: &[usize]| gpu.alloc::<u32>(Class::Scratch, "words", shape).unwrap();
    let mut refused = |capacity: &[usize], kept: &[usize], wanted: &str| {
        let (capacity, kept) = (words(capacity), words(kept));
        let error = gate::keep(&mut rec, &room.experts, &room.weights, Overflow::Position, &capacity, &kept);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    };
    refused(&[4], &[1, 4, 1], "capacity should be a matrix");
    refused(&[3, 4], &[3, 4, 1], "capacity should be a number of groups that divides 8 tokens");
    refused(&[0, 4], &[0, 4, 1], "capacity should be a number of groups that divides 8 tokens");
    refused(&[2, 513], &[2, 513, 1], "capacity should be of 1 to 512 experts");
    refused(&[2, 4], &[1, 4, 1], "kept should be of shape [2, 4, 1]");
    let error = gate::capacity(&mut rec, &room.tokens, &words(&[8]), &words(&[4])).unwrap_err().to_string();
    assert!(error.contains("by_count should be of shape [9]"), "{error}");
    let error = gate::rebalance(&mut rec, &counts, &losses, 0.1).unwrap_err().to_string();
    assert!(error.contains("counts should be of shape [5]"), "{error}");
    let ids = &room.words;
    let error =
        gate::hash(&mut rec, ids, None, key(), 1, &room.experts, &room.weights).unwrap_err().to_string();
    assert!(error.contains("gate: hash:2 assigns 2 experts per token of 1 experts"), "{error}");
    assert!(rec.is_empty());
}

/// A token with a non-finite logit is treated like padding, and the scan detects it.
#[test]
fn what_is_not_finite() {
    let gpu = gpu();
    for gate in [
        "softmax-top:2",
        "sigmoid-top:2:renormalised",
        "softmax-top:2:chosen:tile=4",
        "noisy-top:2",
        "gshard",
        "expert-choice:1",
    ] {
        let mut setup = Setup::new(gate, 20, 5, &mut walk(400));
        setup.balance = Some(Balance { aux: 0.1, importance: 0.2, load: 0.3, z: 0.4 });
        let mut padded = setup.clone();
        let mut valid = vec![1; 20];
        for (token, bad) in [(2, f32::NAN), (7, f32::INFINITY), (11, f32::NEG_INFINITY), (19, -f32::NAN)] {
            setup.logits[token * 5 + token % 5] = bad;
            valid[token] = IGNORED;
        }
        padded.valid = Some(valid.clone());
        let (found, wanted) = (run(&gpu, &setup), run(&gpu, &padded));
        assert_eq!(found.experts, wanted.experts, "{gate}");
        assert_eq!(found.weights, wanted.weights, "{gate}");
        assert_eq!(found.losses, wanted.losses, "{gate}");
        assert_eq!(found.logits_grad, wanted.logits_grad, "{gate}");
        if setup.noise.is_some() {
            assert_eq!(found.noise_grad, wanted.noise_grad, "{gate}");
        }
        let assignments = setup.assignments();
        for token in (0..20).filter(|&token| valid[token] == IGNORED) {
            assert!(
                found.experts[token * assignments..][..assignments].iter().all(|&expert| expert == ABSENT),
                "{gate}"
            );
        }

        let logits = gpu.upload(Class::Scratch, "logits", &[20, 5], &setup.logits).unwrap();
        let status = gpu.upload(Class::Scratch, "status", &[1], &[0u32]).unwrap();
        let mut rec = Recorder::new(&gpu);
        ops::finite(&mut rec, &logits, &status, 0, 4).unwrap();
        gpu.run(&rec.finish().unwrap()).unwrap();
        assert_eq!(read::<u32>(&gpu, &status), [4]);
    }
}
