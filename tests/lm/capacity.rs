//! Meaning of a capacity: in balance a capacity of 1 drops nothing, whichever the gate.

use fretwork::gpu::{DType, Gpu, Recorder};
use fretwork::graph::{FanIn, Graph, Network, Precision, Start};
use fretwork::nn::{Module, Moe, MoeConfig};
use fretwork::ops::gate::Balance;
use fretwork::ops::{Activation, Step, StepValues};
use fretwork::random::{Key, Stream};
use fretwork::reference;

use super::gpu;
use super::small_lm::experts;

const SEQUENCES: usize = 3;
const SEQUENCE: usize = 8;
const TOKENS: usize = SEQUENCES * SEQUENCE;
const EXPERTS: usize = 4;
const SEED: u64 = 5;

/// Tokens that each expert got and dropped where every sequence shares out its tokens evenly: token `t` wants expert `t` and
/// the ones after it.
fn shared_out(gpu: &Gpu, config: &MoeConfig) -> [Vec<u32>; 2] {
    const WIDTH: usize = 16;
    let mut graph = Graph::new(SEED, Precision::F32);
    let x = graph.input("x", &[TOKENS, WIDTH], DType::F32).unwrap();
    let ids = graph.input("ids", &[TOKENS], DType::U32).unwrap();
    let moe = Moe {
        config: config.clone(),
        activation: Activation::Relu,
        block: 16,
        sparse: None,
        width: WIDTH,
        sequence: SEQUENCE,
        variance: 1.0,
    };
    let y = moe.build(&mut graph, &[x, ids]).unwrap()[0];
    graph.output(y).unwrap();
    let topologies = vec![None; graph.layers().len()];
    let start = Start { fan_in: FanIn::Present, topologies: &topologies, fixed: true };
    let network = Network::new(gpu, graph, start).unwrap();
    // The router reads off the first columns.
    if let Some(router) = network.parameters().into_iter().find(|param| param.name().contains("router")) {
        let weight: Vec<f32> =
            (0..EXPERTS * WIDTH).map(|i| f32::from(u8::from(i / WIDTH == i % WIDTH))).collect();
        gpu.write(router.values(), &weight).unwrap();
    }
    let wants = |token: usize, column: usize| match (column + EXPERTS - token % EXPERTS) % EXPERTS {
        _ if column >= EXPERTS => 0.0,
        // Far apart, so that noise changes nothing.
        0 => 90.0,
        1 => 60.0,
        2 => 30.0,
        _ => 0.0,
    };
    let x: Vec<f32> = (0..TOKENS * WIDTH).map(|i| wants(i / WIDTH, i % WIDTH)).collect();
    // Identities whose hashes go round the experts.
    let mut ids = Vec::new();
    for id in 0.. {
        let (mut chosen, mut weight) = ([0u32], [0.0]);
        reference::gate::hash(
            &[id],
            None,
            &mut chosen,
            &mut weight,
            EXPERTS,
            Key::new(SEED, Stream::Gate(0)),
        );
        if chosen[0] as usize == ids.len() % EXPERTS {
            ids.push(id);
        }
        if ids.len() == TOKENS {
            break;
        }
    }
    let inputs = network.inputs();
    gpu.write(inputs[0].1, &x).unwrap();
    gpu.write(inputs[1].1, &ids).unwrap();
    let step = Step::new(gpu, StepValues::forward(0)).unwrap();
    let mut rec = Recorder::new(gpu);
    network.forward(&mut rec, Some(&step)).unwrap();
    gpu.run(&rec.finish().unwrap()).unwrap();
    let load = &network.loads()[0];
    [load.taken, load.dropped].map(|words| gpu.read::<u32>(words).unwrap().wait().unwrap())
}

#[test]
fn in_balance_a_capacity_of_one_drops_nothing() {
    let gpu = gpu();
    // Load of each expert in balance, and with half of that load as its capacity.
    for (gate, whole, half) in [
        ("softmax-top:1", 6, 3),
        ("softmax-top:2:renormalised", 12, 6),
        ("sigmoid-top:2", 12, 6),
        ("softmax-top:3:chosen", 18, 9),
        ("noisy-top:2", 12, 6),
        ("gshard", 12, 6),
        ("hash:1", 6, 3),
        // Half of 12 is a tile and a half.
        ("softmax-top:2:tile=4", 12, 8),
        // 12 tokens are rounded to a tile of 16, and that is also the least capacity there is.
        ("softmax-top:2:tile=16", 16, 16),
        ("expert-choice:1", 6, 3),
        ("expert-choice:2", 12, 6),
        ("expert-choice:4", 24, 12),
    ] {
        for (capacity, wanted) in [(0.0, whole), (1.0, whole), (0.5, half)] {
            let config = MoeConfig { capacity, ..experts(gate) };
            let [taken, dropped] = shared_out(&gpu, &config);
            let name = format!("{gate}, capacity {capacity}: {taken:?} and {dropped:?}");
            assert_eq!(taken, [wanted; EXPERTS], "{name}");
            assert_eq!(dropped, [whole - wanted; EXPERTS], "{name}");
        }
    }
}

#[test]
fn a_capacity_in_numbers() {
    for (gate, capacity, tokens, wanted) in [
        ("softmax-top:2", 1.0, 64, 32),
        ("softmax-top:2", 1.25, 64, 40),
        ("softmax-top:2", 1.0, 63, 32),
        // 1.1 in single precision is a little more.
        ("softmax-top:2", 1.1, 160, 88),
        ("softmax-top:2", 0.001, 64, 1),
        ("softmax-top:2", 0.0, 64, 0),
        ("gshard", 1.5, 10, 8),
        ("hash:1", 2.0, 10, 5),
        ("noisy-top:3", 1.0, 8, 6),
        ("softmax-top:1:tile=8", 1.0, 64, 16),
        ("softmax-top:1:tile=8", 1.1, 64, 24),
        ("expert-choice:2", 1.0, 64, 32),
        ("expert-choice:1.1", 1.0, 160, 45),
        ("expert-choice:2", 0.5, 64, 16),
    ] {
        let config = MoeConfig { capacity, ..experts(gate) };
        assert_eq!(config.expert_capacity(tokens), wanted, "{gate}, {capacity} times, of {tokens}");
    }
}

/// A gate of one choice whose weight is always 1 hands its router nothing: it is refused unless a loss of balance does, and
/// then that is said.
#[test]
fn a_weight_that_is_always_one_trains_no_router() {
    let aux = Balance { aux: 0.01, ..Balance::default() };
    let load = Balance { load: 0.01, ..Balance::default() };
    let others = Balance { importance: 0.1, z: 0.1, ..Balance::default() };
    for (gate, instead) in [
        ("softmax-top:1:renormalised", "softmax-top:1 weighs"),
        ("softmax-top:1:chosen", "softmax-top:1 weighs"),
        ("softmax-top:1:chosen:tile=16", "softmax-top:1 weighs"),
        ("sigmoid-top:1:renormalised", "sigmoid-top:1 weighs"),
        ("noisy-top:1", "softmax-top:1 weighs"),
    ] {
        let with = |balance| MoeConfig { balance, ..experts(gate) };
        for balance in [Balance::default(), others] {
            let refused = with(balance).validate().unwrap_err().to_string();
            assert!(refused.contains("trains no router") && refused.contains(instead), "{refused}");
        }
        assert_eq!(with(load).validate().is_ok(), gate.starts_with("noisy"), "{gate}");
        assert!(with(aux).validate().is_ok(), "{gate}");
        let notices = with(aux).notices();
        assert!(notices.iter().any(|notice| notice.contains("losses of balance alone")), "{notices:?}");
        // A single expert is in balance whatever its router does.
        assert!(MoeConfig { experts: vec![16], ..with(aux) }.validate().is_err(), "{gate}");
    }
    // The load is that of noise.
    for (gate, told) in [("softmax-top:2", true), ("noisy-top:2", false), ("noisy-top:4", true)] {
        let notices = MoeConfig { balance: load, ..experts(gate) }.notices();
        assert_eq!(
            notices.iter().any(|notice| notice.contains("load has no gradient")),
            told,
            "{gate}: {notices:?}"
        );
    }
    for gate in ["softmax-top:1", "sigmoid-top:1", "softmax-top:2:renormalised", "gshard", "hash:1"] {
        assert!(experts(gate).validate().is_ok() && experts(gate).notices().is_empty(), "{gate}");
    }
}
