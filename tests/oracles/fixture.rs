//! A network that methods change between steps, with the weights, gradients and budgets of a case.

use std::collections::BTreeSet;

use fretwork::data::{Dataset, Features, Table};
use fretwork::gpu::{Class, Gpu, Recorder, Tensor};
use fretwork::graph::{Graph, ParamId};
use fretwork::methods::{Method, MutableTopology, Phase, Scope};
use fretwork::nn::{MlpConfig, Network};
use fretwork::ops::Activation;
use fretwork::random::{Key, Stream, Walk};
use fretwork::reference::bits;
use fretwork::sparse::{BlockMatrix, Density, Pattern, Topology};
use fretwork::train::{Length, OptimizerKind, Parts, Schedule, Settings, Trainer};
use fretwork::{Error, Result};

use crate::{BLOCK, gpu};

const AREA: usize = BLOCK * BLOCK;

/// Outputs of the last layer, which is dense.
pub(crate) const CLASSES: usize = 3;

/// A set of places for each sparse layer.
pub(crate) type Sets = Vec<BTreeSet<usize>>;

/// A layer of a case.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// Rows and columns of blocks.
    pub grid: [usize; 2],
    /// The place of each slot's block.
    pub slots: Vec<usize>,
    /// A number per place, of which a block is made: few, so that there are many ties.
    pub weight: Vec<i32>,
    /// A number per place for the gradient of its block.
    pub grad: Vec<i32>,
    /// How many blocks it is to have.
    pub target: usize,
}

impl Layer {
    pub(crate) fn places(&self) -> usize {
        self.grid[0] * self.grid[1]
    }
}

/// Weights, gradients and budgets of the network.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// The number of the case.
    pub index: usize,
    /// The sparse layers.
    pub layers: Vec<Layer>,
    /// The weights of the dense one.
    pub head: Vec<i32>,
    /// Whose blocks compete.
    pub scope: Scope,
}

impl Case {
    /// A case on these grids: few numbers for weights and gradients, any number of blocks that are stored and wanted.
    pub(crate) fn new(grids: &[[usize; 2]], walk: &mut Walk, index: usize) -> Self {
        let turn = index % 50;
        let layer = |&grid: &[usize; 2]| {
            let places = grid[0] * grid[1];
            let any = |walk: &mut Walk| 1 + walk.below(places as u32) as usize;
            let nnz = if turn.is_multiple_of(3) { places } else { any(walk) };
            let mut slots: Vec<usize> = (0..places).collect();
            walk.shuffle(&mut slots);
            slots.truncate(nnz);
            let ints = |walk: &mut Walk| (0..places).map(|_| walk.below(7) as i32 - 3).collect();
            // None, as many as there are, all, and whatever lies between.
            let target = match turn {
                0 => 0,
                1 => nnz,
                2 => places,
                _ => any(walk),
            };
            Layer { grid, slots, weight: ints(walk), grad: ints(walk), target }
        };
        let layers: Vec<Layer> = grids.iter().map(layer).collect();
        let inputs = grids[grids.len() - 1][0] * BLOCK;
        let head = (0..CLASSES * inputs).map(|_| walk.below(5) as i32 - 2).collect();
        let scope = if (turn + index / 50).is_multiple_of(2) { Scope::Global } else { Scope::Layer };
        Self { index, layers, head, scope }
    }

    /// The blocks that are stored.
    pub(crate) fn stored(&self) -> Sets {
        self.layers.iter().map(|layer| layer.slots.iter().copied().collect()).collect()
    }

    /// How many blocks all layers are to have.
    pub(crate) fn budget(&self) -> usize {
        self.layers.iter().map(|layer| layer.target).sum()
    }

    /// A number that is drawn for this case and a purpose of its own.
    pub(crate) fn draw(&self, purpose: u32, below: u32) -> usize {
        let [bits, _] = Key::new(self.index as u64, Stream::Check(8)).at([purpose, 0]);
        (bits % below) as usize
    }
}

/// The sum of a block's magnitudes is twice the number it is made of, and its sum is 0. Where the two elements that are not 0
/// stand depends on the place.
pub(crate) fn block(place: usize, first: f32, second: f32) -> [f32; AREA] {
    let mut block = [0.0; AREA];
    let at = place * 7 % (AREA - 1);
    (block[at], block[at + 1]) = (first, second);
    block
}

/// The places of a topology, and the numbers that their blocks are made of.
pub(crate) fn numbers(topology: &Topology, values: &[f32]) -> std::result::Result<Vec<(usize, f32)>, String> {
    let numbers = topology.places().zip(values.chunks(AREA)).map(|(place, values)| {
        let first = values[place * 7 % (AREA - 1)];
        if values == block(place, first, -first) {
            Ok((place, first))
        } else {
            Err(format!("block {place} has values that are not its own"))
        }
    });
    numbers.collect()
}

/// The gradient's number of a place in a layer, in one of the backward passes since the case began.
type Gradient = Box<dyn Fn(usize, usize, usize) -> i32>;

/// The network.
pub(crate) struct Fixture {
    pub(crate) gpu: Gpu,
    trainer: Trainer,
    targets: Vec<usize>,
    sparsity: f64,
    /// The places of each layer's slots.
    slots: Vec<Vec<usize>>,
    gradient: Gradient,
    passes: usize,
}

/// Method that does nothing, but has its workspaces allocated.
#[derive(Debug)]
struct Idle;

impl Method for Idle {}

impl Fixture {
    /// With layers of these widths in blocks, from the input on.
    pub(crate) fn new(widths: &[usize]) -> Self {
        let gpu = gpu();
        let [inputs, hidden @ ..] = widths else { panic!("no layers") };
        let inputs = inputs * BLOCK;
        let table = Table::new(Features::Floats(vec![0.0; inputs]), vec![0], inputs).unwrap();
        let data = Dataset::of_tables("none", table.clone(), table, CLASSES);
        let settings = Settings {
            data: "none".to_owned(),
            length: Length::Steps(1),
            batch: 1,
            optimizer: OptimizerKind::Sgd,
            learning_rate: 0.1,
            schedule: Schedule::Constant,
            momentum: 0.0,
            weight_decay: 0.0,
            ..Settings::new(MlpConfig {
                inputs,
                hidden: hidden.iter().map(|blocks| blocks * BLOCK).collect(),
                classes: CLASSES,
                block: BLOCK,
                sparsity: Some(0.0),
                density: Density::Uniform,
                activation: Activation::Relu,
                dropout: 0.0,
                seed: 1,
                layers: Default::default(),
                local: None,
            })
        };
        let trainer = Trainer::with_parts(
            &gpu,
            settings.clone(),
            data,
            Parts { method: Box::new(Idle), ..settings.parts() },
        )
        .unwrap();
        for parameter in trainer.model().parameters() {
            // The gradient as a whole is never 0.
            gpu.write(parameter.grads(), &vec![1.0f32; parameter.grads().len()]).unwrap();
        }
        let slots = vec![Vec::new(); hidden.len()];
        Self {
            gpu,
            trainer,
            targets: Vec::new(),
            sparsity: 0.0,
            slots,
            gradient: Box::new(|_, _, _| 0),
            passes: 0,
        }
    }

    /// Rows and columns of blocks of each sparse layer.
    pub(crate) fn grids(&self) -> Vec<[usize; 2]> {
        let layers = self.sparse_layers().into_iter();
        layers.map(|(_, weight)| [weight.pattern().row_blocks(), weight.pattern().col_blocks()]).collect()
    }

    /// The network becomes the case's.
    pub(crate) fn load(&mut self, case: &Case) {
        self.passes = 0;
        self.targets = vec![0; self.trainer.model().store().len()];
        for ((param, _), layer) in self.sparse_layers().into_iter().zip(&case.layers) {
            self.targets[param.index()] = layer.target;
        }
        let grads: Vec<Vec<i32>> = case.layers.iter().map(|layer| layer.grad.clone()).collect();
        self.gradient = Box::new(move |_, layer, place| grads[layer][place]);
        for (index, layer) in case.layers.iter().enumerate() {
            let nnz = layer.slots.len();
            if self.pattern(index).nnz() != nnz {
                let set = bits::set(layer.places(), 0..nnz);
                let set = self.gpu.upload(Class::Scratch, "set", &[set.len()], &set).unwrap();
                self.reshape(self.sparse_layers()[index].0, &set, nnz).unwrap();
            }
            let [rows, cols] = layer.grid.map(|blocks| blocks * BLOCK);
            let at = |&place: &usize| ((place / layer.grid[1]) as u32, (place % layer.grid[1]) as u32);
            let coordinates: Vec<(u32, u32)> = layer.slots.iter().map(at).collect();
            let topology = Topology::from_coordinates(rows, cols, BLOCK, &coordinates).unwrap();
            self.pattern(index).replace(&self.gpu, &topology).unwrap();
            self.slots[index] = layer.slots.clone();
            self.write_weight(index, &layer.weight);
        }
        let head: Vec<f32> = case.head.iter().map(|&w| w as f32).collect();
        self.gpu.write(self.head(), &head).unwrap();
    }

    /// Gives a layer's stored blocks the weights of these numbers, one per place.
    pub(crate) fn write_weight(&self, layer: usize, weight: &[i32]) {
        let values: Vec<f32> = self.slots[layer]
            .iter()
            .flat_map(|&place| block(place, weight[place] as f32, -weight[place] as f32))
            .collect();
        self.gpu.write(self.trainer.model().layers()[layer].weight().values(), &values).unwrap();
    }

    /// From now on the gradient's number is what `gradient` says of a backward pass, a layer and a place.
    pub(crate) fn set_gradient(&mut self, gradient: impl Fn(usize, usize, usize) -> i32 + 'static) {
        self.gradient = Box::new(gradient);
    }

    /// From now on the run has this sparsity.
    pub(crate) fn set_sparsity(&mut self, sparsity: f64) {
        self.sparsity = sparsity;
    }

    /// The weight of the dense layer.
    pub(crate) fn head(&self) -> &Tensor {
        let layers = self.trainer.model().layers();
        layers[layers.len() - 1].weight().values()
    }

    pub(crate) fn pattern(&self, layer: usize) -> Pattern {
        self.sparse_layers()[layer].1.pattern().clone()
    }

    /// The blocks of each layer. Reading them validates the index.
    pub(crate) fn sets(&self) -> std::result::Result<Sets, String> {
        let read = |(_, weight): (ParamId, BlockMatrix)| {
            weight.pattern().topology(&self.gpu).map(|topology| topology.places().collect())
        };
        self.sparse_layers().into_iter().map(read).collect::<Result<_>>().map_err(|error| error.to_string())
    }

    /// The numbers that a layer's blocks are made of.
    pub(crate) fn numbers(&self, layer: usize) -> std::result::Result<Vec<(usize, f32)>, String> {
        let (_, weight) = &self.sparse_layers()[layer];
        let topology = weight.pattern().topology(&self.gpu).map_err(|error| error.to_string())?;
        let values = self.gpu.read::<f32>(weight.values()).unwrap().wait().unwrap();
        numbers(&topology, &values).map_err(|why| format!("layer {layer}: {why}"))
    }

    /// Blocks that were there have kept their values, and new ones are 0.
    fn expect_values(&self, case: &Case) -> std::result::Result<(), String> {
        for (index, layer) in case.layers.iter().enumerate() {
            for (place, found) in self.numbers(index)? {
                let wanted = if layer.slots.contains(&place) { layer.weight[place] } else { 0 };
                if found != wanted as f32 {
                    return Err(format!("layer {index}: block {place} is {found}, not {wanted}"));
                }
            }
        }
        Ok(())
    }
}

impl MutableTopology for Fixture {
    fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    fn model(&self) -> &Network {
        self.trainer.model()
    }

    fn sparsity(&self) -> f64 {
        self.sparsity
    }

    fn targets(&self) -> &[usize] {
        &self.targets
    }

    fn backward(&mut self, _batch: u64) -> Result<()> {
        for (layer, slots) in self.slots.iter().enumerate() {
            let number = |&place: &usize| (self.gradient)(self.passes, layer, place) as f32;
            let grads: Vec<f32> =
                slots.iter().flat_map(|place| block(*place, number(place), number(place))).collect();
            self.gpu.write(self.trainer.model().layers()[layer].weight_grad().values(), &grads)?;
        }
        self.passes += 1;
        Ok(())
    }

    fn reshape(&mut self, param: ParamId, set: &Tensor, nnz: usize) -> Result<()> {
        self.trainer.reshape(param, set, nnz)?;
        let slots = bits::members(&self.gpu.read::<u32>(set)?.wait()?);
        let layer = self.sparse_layers().iter().position(|&(id, _)| id == param);
        self.slots[layer.expect("only sparse layers should be reshaped")] = slots;
        Ok(())
    }

    fn smallest_graph(&self) -> Result<Graph> {
        self.trainer.smallest_graph()
    }

    fn features(&self) -> usize {
        self.trainer.features()
    }
}

/// The networks whose topologies are mutated, by the widths of their layers in blocks.
pub(crate) const WIDTHS: [&[usize]; 4] = [&[7, 5, 3], &[9, 1, 9], &[4, 8], &[11, 12, 11, 2]];

/// Runs a case; returns what was wrong with the outcome.
type Trial<'a> = dyn FnMut(&mut Fixture, Case, &mut Walk) -> std::result::Result<(), String> + 'a;

/// Draws a thousand cases and returns what was wrong with the first that was not right.
pub(crate) fn run_cases(trial: &mut Trial<'_>) -> std::result::Result<(), String> {
    let mut walk = Key::new(5, Stream::Check(9)).walk();
    for (group, widths) in WIDTHS.into_iter().enumerate() {
        let mut fixture = Fixture::new(widths);
        let grids = fixture.grids();
        for index in 250 * group..250 * (group + 1) {
            let case = Case::new(&grids, &mut walk, index);
            trial(&mut fixture, case, &mut walk).map_err(|why| format!("{widths:?}, case {index}: {why}"))?;
        }
    }
    Ok(())
}

/// Mutates the topologies of a thousand cases and returns the first that does not end as the oracle says: with these blocks, which have
/// kept their values where `values` is, or with a refusal because a layer would be left with none.
pub(crate) fn expect_mutations(
    act: &dyn Fn(&mut Fixture, &Case) -> Result<()>,
    oracle: &dyn Fn(&Case) -> Option<Sets>,
    values: bool,
) -> std::result::Result<(), String> {
    run_cases(&mut |fixture, case, _| {
        fixture.load(&case);
        let outcome = act(fixture, &case);
        compare(fixture, &case, outcome, oracle(&case), values)
    })
}

/// How a case has ended against how the oracle says; see [`expect_mutations`].
pub(crate) fn compare(
    fixture: &Fixture,
    case: &Case,
    outcome: Result<()>,
    wanted: Option<Sets>,
    values: bool,
) -> std::result::Result<(), String> {
    match (outcome, wanted) {
        (Err(Error::Config { option: "sparsity", .. }), None) => Ok(()),
        (Err(error), _) => Err(format!("refused: {error}")),
        (Ok(()), None) => Err("a layer without blocks is not refused".to_owned()),
        (Ok(()), Some(wanted)) => {
            let found = fixture.sets()?;
            if found != wanted {
                return Err(format!("blocks {found:?} instead of {wanted:?}"));
            }
            if values { fixture.expect_values(case) } else { Ok(()) }
        }
    }
}

/// Lets a method change the network in one phase.
pub(crate) fn mutate(mut method: impl Method, fixture: &mut Fixture, phase: Phase) -> Result<()> {
    method.mutate(phase, fixture)
}

/// Runs what `record` records.
pub(crate) fn run(gpu: &Gpu, record: impl FnOnce(&mut Recorder<'_>) -> Result<()>) {
    let mut rec = Recorder::new(gpu);
    record(&mut rec).unwrap();
    gpu.run(&rec.finish().unwrap()).unwrap();
}
